// Sign in and sign with an ID card or digi-ID, from a web page.
//
// Speaks the Web eID extension's own message protocol (actions web-eid:status, authenticate,
// get-signing-certificate, sign) and, where no extension answers, the same messages to the card agent's
// pop-up, whose address is in <meta name="digiid-agent" content="http://127.0.0.1:8802">.
// The functions take and give what those of the public library web-eid.js do.
//
// A browser lets a page open a window only while a click is fresh. So the extension is looked for when this
// module loads; call prepare() first thing in the click handler if something slow comes before the card.

const LIBRARY_VERSION = "2.0.0";
const EXTENSION_ACK_MS = 400;
const AGENT_READY_MS = 10_000;
const USER_MS = 120_000;
const CLOSED_CHECK_MS = 250;
const WINDOW_FEATURES = "popup,width=480,height=720";

const TEXTS = {
  en: {
    ERR_WEBEID_ACTION_PENDING: "The card is already in use on this page. Finish that first, or load the page again.",
    ERR_WEBEID_ACTION_TIMEOUT: "The Web eID extension stopped answering. Load the page again and retry.",
    ERR_WEBEID_CONTEXT_INSECURE: "The card can only be used on a secure (https) page.",
    ERR_WEBEID_EXTENSION_UNAVAILABLE: "Neither the Web eID extension nor a card agent was found.",
    ERR_WEBEID_NATIVE_UNAVAILABLE: "The card agent does not answer. Start it, then try again.",
    ERR_WEBEID_POPUP_BLOCKED: "The browser blocked the card window. Allow pop-ups for this site and try again.",
    ERR_WEBEID_USER_CANCELLED: "You closed the card window. Nothing was signed.",
    ERR_WEBEID_USER_TIMEOUT: "Nothing was entered in time. Try again.",
    ERR_WEBEID_MISSING_PARAMETER: "The page did not say what the card should do.",
    ERR_WEBEID_UNKNOWN_ERROR: "The card could not be used. Try again.",
  },
  et: {
    ERR_WEBEID_ACTION_PENDING: "Kaart on sellel lehel juba kasutuses. Lõpetage see enne või laadige leht uuesti.",
    ERR_WEBEID_ACTION_TIMEOUT: "Web eID laiendus ei vasta enam. Laadige leht uuesti ja proovige veel kord.",
    ERR_WEBEID_CONTEXT_INSECURE: "Kaarti saab kasutada ainult turvalisel (https) lehel.",
    ERR_WEBEID_EXTENSION_UNAVAILABLE: "Ei leitud Web eID laiendust ega kaardiagenti.",
    ERR_WEBEID_NATIVE_UNAVAILABLE: "Kaardiagent ei vasta. Käivitage see ja proovige uuesti.",
    ERR_WEBEID_POPUP_BLOCKED: "Brauser keelas kaardiakna. Lubage sellel saidil hüpikaknad ja proovige uuesti.",
    ERR_WEBEID_USER_CANCELLED: "Sulgesite kaardiakna. Midagi ei allkirjastatud.",
    ERR_WEBEID_USER_TIMEOUT: "Aeg sai läbi. Proovige uuesti.",
    ERR_WEBEID_MISSING_PARAMETER: "Leht ei öelnud, mida kaart tegema peab.",
    ERR_WEBEID_UNKNOWN_ERROR: "Kaarti ei õnnestunud kasutada. Proovige uuesti.",
  },
};

/** What went wrong, with a stable `code` (ERR_WEBEID_…) and a text for the person. */
export class WebEidError extends Error {
  constructor(code, message) {
    const texts = document.documentElement.lang.startsWith("et") ? TEXTS.et : TEXTS.en;
    super(message || texts[code] || texts.ERR_WEBEID_UNKNOWN_ERROR);
    this.name = "WebEidError";
    this.code = code;
  }
}

/** Which versions answer: `{library, extension, nativeApp}`. Opens no window. */
export async function status() {
  if (await extensionFound) return { library: LIBRARY_VERSION, ...(await askExtension("status", {}, EXTENSION_ACK_MS * 25)) };
  agentOrigin();
  return { library: LIBRARY_VERSION, extension: "digiid-agent", nativeApp: "digiid-agent" };
}

/**
 * Sign in. `challengeNonce` is the site's own, base64 of at least 32 bytes.
 * Gives the authentication token: `{unverifiedCertificate, algorithm, signature, format, appVersion}`.
 * Options: `lang` ("en", "et"), `userInteractionTimeout` in milliseconds.
 */
export function authenticate(challengeNonce, options = {}) {
  return act("authenticate", { challengeNonce }, options, { keepWindow: false });
}

/** The signing certificate: `{certificate, supportedSignatureAlgorithms}`. The agent's window stays open for sign(). */
export function getSigningCertificate(options = {}) {
  return act("get-signing-certificate", {}, options, { keepWindow: true });
}

/** Sign `hash` (base64, made with `hashFunction`, for example "SHA-384"): `{signature, signatureAlgorithm}`. */
export function sign(certificate, hash, hashFunction, options = {}) {
  return act("sign", { certificate, hash, hashFunction }, options, { keepWindow: false });
}

/** Open the agent's window now, while the click is fresh, unless an extension will answer. May be called always. */
export function prepare() {
  if (extension === false && agentMeta()) openAgent();
}

/** Close the agent's window, if it is open: the page gave up between the certificate and the signature. */
export function cancel() {
  agent?.window.close();
  agent = null;
}

let pending = false;

async function act(name, parameters, options, { keepWindow }) {
  if (Object.values(parameters).some((value) => typeof value !== "string" || !value)) {
    throw new WebEidError("ERR_WEBEID_MISSING_PARAMETER");
  }
  if (!window.isSecureContext) throw new WebEidError("ERR_WEBEID_CONTEXT_INSECURE");
  if (pending) throw new WebEidError("ERR_WEBEID_ACTION_PENDING");
  pending = true;
  try {
    // no await before the window opens when it is known that there is no extension: the click must be fresh
    if (extension ?? (await extensionFound)) {
      return await askExtension(name, { ...parameters, options }, options.userInteractionTimeout ?? USER_MS);
    }
    return await askAgent(name, { ...parameters, options }, options, keepWindow);
  } finally {
    pending = false;
  }
}

// --- the extension ---

let extension = null; // not known yet
const extensionFound = findExtension().then((found) => (extension = found));

function findExtension() {
  return new Promise((resolve) => {
    const timer = setTimeout(() => finish(false), EXTENSION_ACK_MS);
    const finish = (found) => {
      clearTimeout(timer);
      window.removeEventListener("message", listen);
      resolve(found);
    };
    const listen = (event) => {
      if (isOwnMessage(event) && event.data.action === "web-eid:status-ack") finish(true);
    };
    window.addEventListener("message", listen);
    window.postMessage({ action: "web-eid:status", libraryVersion: LIBRARY_VERSION }, window.location.origin);
  });
}

function askExtension(name, parameters, userMs) {
  const action = `web-eid:${name}`;
  return new Promise((resolve, reject) => {
    let timer = setTimeout(() => finish(reject, new WebEidError("ERR_WEBEID_EXTENSION_UNAVAILABLE")), 1000);
    const finish = (settle, value) => {
      clearTimeout(timer);
      window.removeEventListener("message", listen);
      settle(value);
    };
    const listen = (event) => {
      if (!isOwnMessage(event)) return;
      if (event.data.action === `${action}-ack`) {
        clearTimeout(timer);
        timer = setTimeout(() => finish(reject, new WebEidError("ERR_WEBEID_ACTION_TIMEOUT")), userMs);
      } else if (event.data.action === `${action}-success`) {
        finish(resolve, withoutAction(event.data));
      } else if (event.data.action === `${action}-failure`) {
        finish(reject, asError(event.data.error));
      }
    };
    window.addEventListener("message", listen);
    window.postMessage({ action, libraryVersion: LIBRARY_VERSION, ...parameters }, window.location.origin);
  });
}

function isOwnMessage(event) {
  return event.source === window && event.origin === window.location.origin && typeof event.data?.action === "string";
}

// --- the card agent's pop-up ---

let agent = null; // {window, origin, ready: Promise}

function agentMeta() {
  return document.querySelector('meta[name="digiid-agent"]')?.content;
}

function agentOrigin() {
  const address = agentMeta();
  if (!address) throw new WebEidError("ERR_WEBEID_EXTENSION_UNAVAILABLE");
  return new URL(address).origin;
}

function openAgent() {
  if (agent && !agent.window.closed) {
    agent.window.focus();
    return agent;
  }
  const origin = agentOrigin();
  const language = document.documentElement.lang.startsWith("et") ? "et" : "en";
  const opened = window.open(`${origin}/popup?lang=${language}`, "_blank", WINDOW_FEATURES);
  if (!opened) throw new WebEidError("ERR_WEBEID_POPUP_BLOCKED");
  agent = { window: opened, origin };
  agent.ready = new Promise((resolve, reject) => {
    const timer = setTimeout(() => finish(reject, new WebEidError("ERR_WEBEID_NATIVE_UNAVAILABLE")), AGENT_READY_MS);
    const finish = (settle, value) => {
      clearTimeout(timer);
      window.removeEventListener("message", listen);
      settle(value);
    };
    const listen = (event) => {
      if (event.source === opened && event.origin === origin && event.data?.action === "digiid-agent:ready") finish(resolve);
    };
    window.addEventListener("message", listen);
  });
  agent.ready.catch(() => {}); // whoever waits for it hears of it; nobody may be waiting yet
  return agent;
}

async function askAgent(name, parameters, options, keepWindow) {
  const action = `web-eid:${name}`;
  const used = openAgent();
  try {
    const answer = await Promise.race([closed(used), talk(used, action, parameters, options)]);
    if (!keepWindow) closeAgent(used);
    return answer;
  } catch (error) {
    closeAgent(used);
    throw error;
  } finally {
    clearInterval(used.closedCheck);
  }
}

async function talk(used, action, parameters, options) {
  await used.ready;
  return new Promise((resolve, reject) => {
    const userMs = options.userInteractionTimeout ?? USER_MS;
    const timer = setTimeout(() => finish(reject, new WebEidError("ERR_WEBEID_USER_TIMEOUT")), userMs);
    const finish = (settle, value) => {
      clearTimeout(timer);
      window.removeEventListener("message", listen);
      settle(value);
    };
    const listen = (event) => {
      if (event.source !== used.window || event.origin !== used.origin) return;
      if (event.data?.action === `${action}-success`) finish(resolve, withoutAction(event.data));
      if (event.data?.action === `${action}-failure`) finish(reject, asError(event.data.error));
    };
    window.addEventListener("message", listen);
    used.window.postMessage({ action, libraryVersion: LIBRARY_VERSION, ...parameters }, used.origin);
  });
}

function closed(used) {
  return new Promise((_, reject) => {
    used.closedCheck = setInterval(() => {
      if (used.window.closed) reject(new WebEidError("ERR_WEBEID_USER_CANCELLED"));
    }, CLOSED_CHECK_MS);
  });
}

function closeAgent(used) {
  used.window.close();
  if (agent === used) agent = null;
}

function withoutAction(message) {
  const { action, ...fields } = message;
  return fields;
}

function asError(error) {
  const code = typeof error?.code === "string" ? error.code : "ERR_WEBEID_UNKNOWN_ERROR";
  return new WebEidError(code, typeof error?.message === "string" ? error.message : "");
}
