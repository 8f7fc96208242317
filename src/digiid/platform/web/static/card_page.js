// What pages that use the card have in common: talking to their own site, and telling the person what went wrong.

const csrf = () => document.querySelector('meta[name="csrf-token"]').content;

export async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": csrf() },
    body: JSON.stringify(body),
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const error = new Error(answer.detail || "");
    error.code = answer.code || "";
    error.fromSite = true;
    throw error;
  }
  return answer;
}

export function cardButton(id, work) {
  const button = document.getElementById(id);
  if (!button) return;
  const box = document.getElementById("card-error");
  const status = document.getElementById("card-status");
  const texts = button.dataset;
  button.addEventListener("click", async () => {
    box.hidden = true;
    button.disabled = true;
    status.textContent = texts.textBusy;
    try {
      await work(button, (text) => { status.textContent = text; });
    } catch (error) {
      status.textContent = "";
      document.getElementById("card-error-text").textContent = explain(error, texts);
      box.hidden = false;
      box.focus();
      button.disabled = false;
    }
  });
}

function explain(error, texts) {
  if (error.fromSite) return error.message || texts.textFailed;
  if (error.code === "ERR_WEBEID_USER_CANCELLED") return texts.textCancelled;
  if (error.code === "ERR_WEBEID_POPUP_BLOCKED") return texts.textBlocked;
  return error.message || texts.textFailed;
}
