/** Lets the browser keep the page's own files, so that it opens without a network; see worker.js. */
import { ROOT } from "./page.mjs";

const WORKER = new URL("studio/worker.js", ROOT).href;
const SCOPE = new URL("studio", ROOT).href;

let done;
/** Resolves once the page can be opened without a network; never where the browser does not offer it. */
export const ready = new Promise((resolve) => {
  done = resolve;
});

/** Begins it, after what one sees. */
export function keepPage() {
  // Only secure pages have one: over HTTPS, or from the machine itself.
  if (!("serviceWorker" in navigator)) return;
  const policy = globalThis.trustedTypes?.createPolicy("reroom", { createScriptURL: () => WORKER });
  const register = async () => {
    try {
      await navigator.serviceWorker.register(policy ? policy.createScriptURL("") : WORKER, { scope: SCOPE });
      await navigator.serviceWorker.ready;
      done();
    } catch {
      // Everything but that works without.
    }
  };
  if (document.readyState === "complete") register();
  else addEventListener("load", register, { once: true });
}
