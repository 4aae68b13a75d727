/** What is shown is asked for again every few seconds, as long as the page is looked at and nobody has paused it. */
import { useEffect, useRef, useState } from "../ui.mjs";

let live = true;
const waiting = new Set();

export const isLive = () => live;

export function setLive(on) {
  live = on;
  wake();
}

function wake() {
  if (live && !document.hidden) for (const each of [...waiting]) each();
}
document.addEventListener("visibilitychange", wake);

/** When it is time to ask again. */
async function due(seconds, signal) {
  await new Promise((go) => {
    const timer = setTimeout(go, seconds * 1000);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      go();
    });
  });
  if (signal.aborted || (live && !document.hidden)) return;
  await new Promise((go) => {
    const gone = () => {
      waiting.delete(gone);
      go();
    };
    waiting.add(gone);
    signal.addEventListener("abort", gone);
  });
}

const alike = (a, b) => a && b && a.code === b.code && a.detail === b.detail;

/**
 * `{data, trouble, again}`: what `load(signal)` found last, null at first; why the last try found nothing; and what asks at
 * once. `inputs`: what `load` depends on; what was found for others stays until there is something new.
 */
export function useLive(load, seconds, inputs = []) {
  const [found, setFound] = useState({ data: null, trouble: null });
  const [round, setRound] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const ending = new AbortController();
    const { signal } = ending;
    const run = async () => {
      while (!signal.aborted) {
        let wait = seconds;
        try {
          const data = await latest.current(signal);
          if (!signal.aborted) setFound({ data, trouble: null });
        } catch (error) {
          if (signal.aborted) return;
          wait = Math.max(seconds, error.retryAfter ?? 0);
          // The same trouble again is nothing new: it must not be read out again, nor scrolled to.
          setFound((was) => (alike(was.trouble, error) ? was : { data: was.data, trouble: error }));
        }
        await due(wait, signal);
      }
    };
    run();
    return () => ending.abort();
  }, [...inputs, round]);
  return { ...found, again: () => setRound((n) => n + 1) };
}
