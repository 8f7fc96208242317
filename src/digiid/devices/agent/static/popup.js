// The agent's window: shows who asks for what, takes the PIN, sends the answer to that origin and no other.
//
// The origin is event.origin, which the browser vouches for; a message's own words about it count for nothing.

const $ = (id) => document.getElementById(id);
const texts = $("texts").dataset;
const token = document.querySelector('meta[name="agent-token"]').content;
const lang = document.documentElement.lang;
const ACTIONS = ["authenticate", "get-signing-certificate", "sign"];
const CLOSE_AFTER_MS = 400;
const CONSIDER_MS = 600; // a page may open this window under a double click: its second click must not say yes

let site = null; // the origin of the first request; the window serves no other
let request = null; // {name, fields} while one is being answered
let lastCard = ""; // the card that the signing certificate came from

if (window.opener) {
  window.addEventListener("message", receive);
  window.opener.postMessage({ action: "digiid-agent:ready" }, "*"); // says nothing that is anybody's secret
} else {
  $("waiting").textContent = $("waiting").dataset.noOpener;
}

$("allow-yes").addEventListener("click", () => guarded(async () => {
  await api("allow", {});
  await chooseCard();
}));
$("allow-no").addEventListener("click", cancel);
$("cancel").addEventListener("click", cancel);
$("look-again").addEventListener("click", () => guarded(chooseCard));
$("use").addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(useCard);
});

function receive(event) {
  if (event.source !== window.opener || typeof event.data?.action !== "string") return;
  const name = /^web-eid:(.*)$/.exec(event.data.action)?.[1];
  if (!ACTIONS.includes(name)) return;
  if (site === null) site = event.origin;
  if (event.origin !== site || request) return; // another site in the same window, or a second question at once
  request = { name, fields: event.data };
  guarded(showRequest);
}

async function showRequest() {
  const { name, fields } = request;
  $("waiting").hidden = true;
  $("failure").hidden = true;
  $("origin").textContent = site;
  $("asked").textContent = texts[camel(`ask-${name}`)];
  $("asked-note").textContent = texts[camel(`note-${name}`)];
  $("hash-row").hidden = name !== "sign";
  if (name === "sign") {
    $("hash-label").textContent = $("hash-label").dataset.text.replace("{function}", String(fields.hashFunction));
    $("hash").textContent = shortened(fields.hash);
  }
  $("request").hidden = false;
  const { known } = await api("begin", {});
  if (known) {
    await chooseCard();
  } else {
    show("allow");
    $("allow-no").focus(); // the careful answer is the one that a hasty Enter gives
    enableLater($("allow-yes"));
  }
}

async function chooseCard() {
  $("status").textContent = texts.busy;
  const { cards } = await api("cards", {});
  $("status").textContent = "";
  const { name } = request;
  const list = $("card-list");
  list.replaceChildren();
  const preferred = cards.find((card) => card.id === lastCard) ?? cards.find((card) => card.inserted) ?? (cards.length === 1 ? cards[0] : null);
  cards.forEach((card, index) => list.append(choice(card, index, card === preferred)));
  $("no-card").hidden = cards.length > 0;
  $("look-again").hidden = cards.length > 0;
  $("pin-field").hidden = name === "get-signing-certificate" || cards.length === 0;
  $("pin-label").textContent = name === "get-signing-certificate" ? "" : $("pin-label").dataset[name];
  $("pin").value = "";
  fieldError("pin", "");
  fieldError("card", "");
  $("go").textContent = texts[camel(`go-${name}`)];
  $("go").hidden = cards.length === 0;
  show("use");
  if (cards.length === 0) $("look-again").focus();
  else if (!preferred) list.querySelector("input").focus();
  else if (!$("pin-field").hidden) $("pin").focus();
  if ($("pin-field").hidden) enableLater($("go"), preferred !== null);
}

function enableLater(button, focus = false) {
  button.disabled = true;
  setTimeout(() => {
    button.disabled = false;
    if (focus) button.focus();
  }, CONSIDER_MS);
}

function choice(card, index, checked) {
  const row = document.createElement("div");
  row.className = "choice";
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "card", value: card.id, id: `card-${index}`, checked });
  const label = Object.assign(document.createElement("label"), { htmlFor: input.id });
  const holder = Object.assign(document.createElement("strong"), { textContent: card.holder });
  const where = Object.assign(document.createElement("span"), { textContent: card.where });
  label.append(holder, where);
  row.append(input, label);
  return row;
}

async function useCard() {
  const { name, fields } = request;
  const chosen = new FormData($("use")).get("card");
  if (!chosen) {
    fieldError("card", $("cards").querySelector("legend").textContent);
    $("card-list").querySelector("input")?.focus();
    return;
  }
  const body = { card: chosen };
  if (name === "authenticate") Object.assign(body, { pin: $("pin").value, challengeNonce: fields.challengeNonce });
  if (name === "sign") {
    const { certificate, hash, hashFunction } = fields;
    Object.assign(body, { pin: $("pin").value, certificate, hash, hashFunction });
  }
  fieldError("pin", "");
  fieldError("card", "");
  $("go").disabled = true;
  $("status").textContent = texts.busy;
  try {
    const answer = await api(name, body);
    lastCard = chosen;
    finish(name, answer);
  } finally {
    $("pin").value = "";
    $("go").disabled = false;
  }
}

function finish(name, answer) {
  show(null);
  $("status").textContent = texts[camel(`done-${name}`)];
  request = null;
  window.opener?.postMessage({ action: `web-eid:${name}-success`, ...answer }, site);
  if (name !== "get-signing-certificate") setTimeout(() => window.close(), CLOSE_AFTER_MS);
}

function cancel() {
  fail("ERR_WEBEID_USER_CANCELLED", texts.cancelled);
  setTimeout(() => window.close(), CLOSE_AFTER_MS / 2);
}

function fail(code, message) {
  if (!request) return;
  const { name } = request;
  request = null;
  window.opener?.postMessage({ action: `web-eid:${name}-failure`, error: { code, message, name: "WebEidError" } }, site);
  show(null);
}

// What can be set right stays in this window; everything else goes back to the site.
async function guarded(work) {
  try {
    await work();
  } catch (error) {
    $("status").textContent = "";
    if (error.field) {
      fieldError(error.field, error.message, error.blocked);
      ($(error.field === "pin" ? "pin" : "card-0") ?? $("go")).focus();
      return;
    }
    $("failure-text").textContent = error.message;
    $("failure").hidden = false;
    $("failure").focus();
    if (error.retry) return;
    const code = error.code === "agent.insecure_origin" ? "ERR_WEBEID_CONTEXT_INSECURE" : "ERR_WEBEID_NATIVE_INVALID_ARGUMENT";
    fail(error.code ? code : "ERR_WEBEID_NATIVE_FATAL", error.message);
  }
}

async function api(path, body) {
  let response;
  try {
    response = await fetch(`/api/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Accept-Language": lang, "X-Agent-Token": token },
      body: JSON.stringify({ origin: site, ...body }),
    });
  } catch {
    throw Object.assign(new Error(texts.timeout), { retry: true });
  }
  const answer = await response.json().catch(() => ({ message: texts.timeout }));
  if (!response.ok) throw Object.assign(new Error(answer.message), answer);
  return answer;
}

function fieldError(field, message, blocked = false) {
  const box = $(`${field}-error`);
  box.hidden = !message;
  if (field !== "pin") {
    box.textContent = message;
    return;
  }
  $("pin-error-text").textContent = message;
  $("unblock-link").hidden = !blocked;
  if (blocked) $("unblock-link").href = `/card?id=${encodeURIComponent(new FormData($("use")).get("card"))}&lang=${lang}#unblock-title`;
  $("pin").toggleAttribute("aria-invalid", false);
  if (message) {
    $("pin").setAttribute("aria-invalid", "true");
    $("pin").setAttribute("aria-describedby", "pin-error");
  } else {
    $("pin").removeAttribute("aria-describedby");
  }
}

function show(part) {
  for (const id of ["allow", "use"]) $(id).hidden = id !== part;
}

function shortened(hash) {
  const value = String(hash);
  return value.length > 24 ? `${value.slice(0, 12)} … ${value.slice(-8)}` : value;
}

function camel(name) {
  return name.replace(/-([a-z])/g, (_, letter) => letter.toUpperCase());
}
