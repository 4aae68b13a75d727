/** Whether the service is reached: what browsers say of the network alone may be wrong in both directions. */
import { ROOT } from "./page.mjs";

const LOOK_AGAIN = 5000;
let reached = true;
let timer;
const listeners = new Set();

export const isReached = () => reached;

/** Called with what became of a try to reach the service. */
export function noteReached(now) {
  if (now === reached) return;
  reached = now;
  clearInterval(timer);
  if (!now) timer = setInterval(look, LOOK_AGAIN);
  for (const changed of listeners) changed(reached);
}

/** Calls back whenever that changes. Returns the function that ends it. */
export function onReached(changed) {
  listeners.add(changed);
  return () => listeners.delete(changed);
}

async function look() {
  if (!document.hidden) await lookNow();
}

let looking = null;

/** Asks it whether it is there: one request may fail for a reason of its own. Of many that fail together the first one's look serves all. */
export const lookNow = () => (looking ??= ask().finally(() => (looking = null)));

async function ask() {
  const answer = await fetch(new URL("health/live", ROOT), { cache: "no-store" }).catch(() => null);
  if (answer?.ok) noteReached(true);
  else if (!answer) noteReached(false);
}

if (!navigator.onLine) noteReached(false);
addEventListener("online", look);
addEventListener("offline", () => noteReached(false));
