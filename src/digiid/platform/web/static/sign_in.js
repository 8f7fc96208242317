import { authenticate } from "./webeid.js";
import { cardButton, post } from "./card_page.js";

cardButton("card-sign-in", async (button) => {
  const { nonce } = await post("/sign-in/challenge", {});
  const token = await authenticate(nonce, { lang: document.documentElement.lang });
  const { next } = await post("/sign-in/token", { token, next: button.dataset.next });
  window.location.assign(next);
});
