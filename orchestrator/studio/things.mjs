/** What the models see in the photo: boxes over it to tap, and their names as buttons, which also keys and screen readers reach. */
import { analyse } from "./api.mjs";
import { draft } from "./draft.mjs";
import { html, useEffect, useState } from "./ui.mjs";
import { named, t } from "./words.mjs";

/** Shares of the photo's width, in percent. The name of a narrow thing is shown when one points at it; one that is far to the right
 * has its name at its right, where it is not cut off. */
const [NARROW, FAR] = [18, 70];
/** Two boxes that overlap more than this are of one thing. */
const SAME = 0.6;

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
  // The last lies on top: a cushion on its couch.
  const found = distinct(objects).sort((a, b) => size(b.box) - size(a.box));
  const things = found.map(({ label, name, box }, place) => {
    const alike = found.filter((each) => each.label === label);
    return { label, number: alike.length > 1 ? alike.indexOf(found[place]) + 1 : null, area: name ?? box, box };
  });
  if (photo.url) return { things };
  return { things, photo: { ...photo, url: `data:image/png;base64,${edges}`, width, height, drawn: true } };
}

const size = ([left, top, right, bottom]) => Math.max(0, right - left) * Math.max(0, bottom - top);

/** The share of what two boxes cover that both cover. */
function overlap(a, b) {
  const both = size([Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])]);
  return both / (size(a) + size(b) - both);
}

/** One object at each place: of several that the models take the same thing for, the surest. */
function distinct(objects) {
  const found = [];
  for (const each of [...objects].sort((a, b) => b.score - a.score)) {
    if (found.every((other) => overlap(each.box, other.box) < SAME)) found.push(each);
  }
  return found;
}

export const titleOf = ({ label, number }) => [named("things", label), number].filter(Boolean).join(" ");

/** Marks a thing, or takes the mark from it. */
function tap(place, mark, change) {
  const { [place]: now, ...others } = draft.marks;
  change({ marks: now === mark ? others : { ...others, [place]: mark } });
}

/** The boxes. `mark`: what a thing becomes that is tapped, "keep" or "change"; `near`: the place of the one that is pointed at. */
export function Boxes({ mark, near, change }) {
  return html`<div class="things" aria-hidden="true">
    ${draft.things.map((thing, place) => {
      const [left, top, right, bottom] = thing.box.map((share) => 100 * share);
      const at = { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` };
      return html`<button key=${place} type="button" tabindex="-1" class="thing" data-mark=${draft.marks[place]} data-near=${near === place || undefined}
        data-small=${right - left < NARROW || undefined} data-right=${left > FAR || undefined} style=${at} onClick=${() => tap(place, mark, change)}>
        <span class="tag">${titleOf(thing)}</span>
      </button>`;
    })}
  </div>`;
}

/** The same things by their names. `point` gets the place of the one that is pointed at, or null. */
export function Names({ mark, point, change }) {
  return html`<div class="names" role="group" aria-label=${t(mark === "keep" ? "tapKeep" : "tapChange")}>
    ${draft.things.map((thing, place) => {
      const now = draft.marks[place];
      const ends = () => point(null);
      const begins = () => point(place);
      return html`<button key=${place} type="button" class="plain small" data-mark=${now} aria-pressed=${now === mark} onClick=${() => tap(place, mark, change)}
        onFocus=${begins} onBlur=${ends} onPointerEnter=${begins} onPointerLeave=${ends}>
        ${titleOf(thing)}${now && html`<span class="visually-hidden">, ${t(now === "keep" ? "stays" : "changes")}</span>`}
      </button>`;
    })}
  </div>`;
}
