import { cancel, getSigningCertificate, prepare, sign } from "./webeid.js";
import { cardButton, post } from "./card_page.js";

cardButton("card-sign", async (button) => {
  const options = { lang: document.documentElement.lang };
  prepare();
  try {
    const { certificate } = await getSigningCertificate(options);
    const { id, hash, hashFunction } = await post("/signing/certificate", { reference: button.dataset.reference, certificate });
    const { signature } = await sign(certificate, hash, hashFunction, options);
    const { next } = await post("/signing/signature", { id, signature });
    window.location.assign(next);
  } catch (error) {
    cancel();
    throw error;
  }
});
