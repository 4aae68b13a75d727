/** What the models see in the photo: boxes over it, each a button that says what becomes of the thing. */
import { analyse } from "./api.mjs";
import { draft } from "./draft.mjs";
import { html, useEffect, useState } from "./ui.mjs";
import { named, t } from "./words.mjs";

/** Shares of the photo's width, in percent. The name of a narrow thing is shown when one points at it; one that is far to the right
 * has its name at its right, where it is not cut off. */
const [NARROW, FAR] = [18, 70];

/**
 * Asks once for each photo what is in it; not while `paused`, when the connection has better to do. What kept the
 * service from saying it, or null, and a function that asks again.
 */
export function useThings(photo, paused, change) {
  const [failed, setFailed] = useState(null);
  const [tried, setTried] = useState(0);
  useEffect(() => {
    if (draft.things !== null || paused) return undefined;
    const stop = new AbortController();
    setFailed(null);
    analyse(photo.blob, stop.signal).then(
      (found) => draft.photo === photo && change(seen(photo, found)),
      (error) => error.name !== "AbortError" && setFailed(error),
    );
    return () => stop.abort();
  }, [photo, paused, tried]);
  return [failed, () => setTried((n) => n + 1)];
}

/** What the draft has after an analysis. A photo that this browser cannot show gets the outlines that the models saw. */
function seen(photo, { objects, edges_png: edges, width, height }) {
  const things = objects.map(({ label, name, box }) => {
    const several = objects.filter((each) => each.label === label).length > 1;
    return { label, number: several ? name?.split("#")[1] : undefined, area: name ?? box, box };
  });
  const size = ({ box: [left, top, right, bottom] }) => (right - left) * (bottom - top);
  // The last lies on top: a cushion on its couch.
  things.sort((a, b) => size(b) - size(a));
  if (photo.url) return { things };
  return { things, photo: { ...photo, url: `data:image/png;base64,${edges}`, width, height, drawn: true } };
}

export const titleOf = ({ label, number }) => [named("things", label), number].filter(Boolean).join(" ");

/** `mark`: what a thing becomes that is tapped, "keep" or "change". */
export function Things({ mark, change }) {
  const tap = (place) => {
    const { [place]: now, ...others } = draft.marks;
    change({ marks: now === mark ? others : { ...others, [place]: mark } });
  };
  return html`<div class="things" role="group" aria-label=${t(mark === "keep" ? "tapKeep" : "tapChange")}>
    ${draft.things.map((thing, place) => {
      const [left, top, right, bottom] = thing.box.map((share) => 100 * share);
      const now = draft.marks[place];
      const at = { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` };
      return html`<button key=${place} type="button" class="thing" data-mark=${now} data-small=${right - left < NARROW || undefined} data-right=${left > FAR || undefined} aria-pressed=${now === mark} style=${at} onClick=${() => tap(place)}>
        <span class="tag">${titleOf(thing)}${now && html`<span class="visually-hidden">, ${t(now === "keep" ? "stays" : "changes")}</span>`}</span>
      </button>`;
    })}
  </div>`;
}
