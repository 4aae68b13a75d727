/** What the models see in the photo: boxes over it to tap, and their names as buttons, which also keys and screen readers reach. */
import { analyse } from "./api.mjs";
import { draft, marked } from "./draft.mjs";
import { html, useEffect, useState } from "./ui.mjs";
import { named, t } from "./words.mjs";

/** Shares of the photo's width, in percent. The name of a narrow thing is shown when one points at it; one that is far to the right
 * has its name at its right, where it is not cut off. */
const [NARROW, FAR] = [18, 70];
/** Two boxes that overlap more than this are of one thing. */
const SAME = 0.6;
/** Names that are shown before all are asked for. */
const FIRST = 6;

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

const titleOf = ({ label, number }) => [named("things", label), number].filter(Boolean).join(" ");

/** The names of what stays, or alone changes (`mark`: "keep", "change"), by these wishes. */
export const namesOf = (mark, of = draft) => [
  ...marked(mark, of).map(titleOf),
  ...(mark === "keep" && (of.strokes.length || of.paint) ? [t("whatYouPainted")] : []),
];

/** Marks a thing, or takes the mark from it. */
function tap({ area }, mark, change) {
  const { [area]: now, ...others } = draft.marks;
  change({ marks: now === mark ? others : { ...others, [area]: mark } });
}

/**
 * The boxes. `mark`: what a thing becomes that is tapped, "keep" or "change"; null: those that are marked are shown, and none can
 * be tapped. `near`: the one that is pointed at.
 */
export function Boxes({ mark, near, change }) {
  const shown = mark ? draft.things : draft.things.filter(({ area }) => draft.marks[area]);
  return html`<div class="things" aria-hidden="true">
    ${shown.map((thing) => {
      const [left, top, right, bottom] = thing.box.map((share) => 100 * share);
      const at = { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` };
      return html`<button key=${thing.area} type="button" tabindex="-1" class="thing" disabled=${!mark} data-mark=${draft.marks[thing.area]} data-near=${near === thing || undefined}
        data-small=${right - left < NARROW || undefined} data-right=${left > FAR || undefined} style=${at} onClick=${() => tap(thing, mark, change)}>
        <span class="tag">${titleOf(thing)}</span>
      </button>`;
    })}
  </div>`;
}

/** The same things by their names: the first, those that are marked, and the others when they are asked for. `point` gets the one
 * that is pointed at, or null. */
export function Names({ mark, point, change }) {
  const [all, setAll] = useState(false);
  const few = draft.things.length <= FIRST + 1;
  const shown = draft.things.filter(({ area }, place) => all || few || place < FIRST || draft.marks[area]);
  return html`<div class="names" role="group" aria-label=${t(mark === "keep" ? "tapKeep" : "tapChange")}>
    ${shown.map((thing) => {
      const now = draft.marks[thing.area];
      const ends = () => point(null);
      const begins = () => point(thing);
      return html`<button key=${thing.area} type="button" class="plain small" data-mark=${now} aria-pressed=${now === mark} onClick=${() => tap(thing, mark, change)}
        onFocus=${begins} onBlur=${ends} onPointerEnter=${begins} onPointerLeave=${ends}>
        ${titleOf(thing)}${now && html`<span class="visually-hidden">, ${t(now === "keep" ? "stays" : "changes")}</span>`}
      </button>`;
    })}
    ${!few && (all || shown.length < draft.things.length) && html`<button type="button" class="link" aria-expanded=${all} onClick=${() => setAll(!all)}>${all ? t("fewer") : t("moreThings", { n: draft.things.length - shown.length })}</button>`}
  </div>`;
}
