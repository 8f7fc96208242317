import { authenticate, cancel, prepare } from "./webeid.js";
import { cardButton, post } from "./card_page.js";

cardButton("card-sign-in", async (button) => {
  prepare();
  try {
    const { nonce } = await post("/sign-in/challenge", {});
    const token = await authenticate(nonce, { lang: document.documentElement.lang });
    const { next } = await post("/sign-in/token", { token, next: button.dataset.next });
    window.location.assign(next);
  } catch (error) {
    cancel();
    throw error;
  }
});
