import { authenticate, cancel, prepare } from "./webeid.js";

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const fields = await answer.json();
  if (!answer.ok) throw new Error(`Not signed in: ${fields.code}`);
  return fields;
}

function onClick(id, work) {
  const status = document.getElementById("status");
  document.getElementById(id)?.addEventListener("click", async () => {
    status.textContent = "";
    try {
      await work();
      location.reload();
    } catch (error) {
      cancel(); // closes the agent's window if it is still open
      status.textContent = error.message;
    }
  });
}

onClick("sign-in", async () => {
  prepare(); // opens the agent's window while the click is fresh, unless the Web eID extension is there
  const { nonce } = await post("/challenge", {});
  await post("/sign-in", { token: await authenticate(nonce) });
});
onClick("sign-out", () => post("/sign-out", {}));
