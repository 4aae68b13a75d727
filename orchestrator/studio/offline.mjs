/** Lets the browser keep the page's own files, so that it opens without a network; see worker.js. */
import { ROOT } from "./page.mjs";

const WORKER = new URL("studio/worker.js", ROOT).href;
const SCOPE = new URL("studio", ROOT).href;

/** Resolves once the page can be opened without a network; never where the browser does not offer it. */
export const ready = new Promise((resolve) => {
  // Only secure pages have one: over HTTPS, or from the machine itself.
  if (!("serviceWorker" in navigator)) return;
  const policy = globalThis.trustedTypes?.createPolicy("reroom", { createScriptURL: () => WORKER });
  const register = async () => {
    try {
      await navigator.serviceWorker.register(policy ? policy.createScriptURL("") : WORKER, { scope: SCOPE });
      await navigator.serviceWorker.ready;
      resolve();
    } catch {
      // Everything but that works without.
    }
  };
  // What one sees comes first.
  if (document.readyState === "complete") register();
  else addEventListener("load", register, { once: true });
});

// Whether the service is reached: what browsers say of the network alone may be wrong in both directions.

const LOOK_AGAIN = 5000;
let reached = true;
let timer;
const listeners = new Set();

/** Called with what became of a try to reach the service. */
export function noteReached(now) {
  if (now === reached) return;
  reached = now;
  clearInterval(timer);
  if (!now) timer = setInterval(look, LOOK_AGAIN);
  for (const changed of listeners) changed(reached);
}

async function look() {
  if (document.hidden) return;
  const answer = await fetch(new URL("health/live", ROOT), { cache: "no-store" }).catch(() => null);
  if (answer?.ok) noteReached(true);
}

if (!navigator.onLine) noteReached(false);
addEventListener("online", look);
addEventListener("offline", () => noteReached(false));

export const isReached = () => reached;

/** Calls back whenever that changes. Returns the function that ends it. */
export function onReached(changed) {
  listeners.add(changed);
  return () => listeners.delete(changed);
}
