/** What is being put together: it stays while one looks at other views and when the page is loaded again, and goes with the tab. */
import { randomSeed, submit } from "./api.mjs";
import { maskOf } from "./brush.mjs";
import { holdDraft, keepFile, keptFile } from "./kept.mjs";
import { remember } from "./memory.mjs";
import { prepared } from "./photo.mjs";
import { ofTab } from "./stored.mjs";

/** Steps between previews. */
const PREVIEW_EVERY = 1;
/** The service's own middle. */
const STRUCTURE = 0.5;
const SAVED = "reroom.draft";
/** Bytes of a reference picture that is kept with its room. */
const MOST_REFERENCE = 400000;

/** How a room is asked for, but for its files: what is remembered with each room, to be asked for again. */
const fresh = () => ({
  /** `[{label, number, area, box}]` that the models see in the photo, the largest first; null: they have not said yet. */
  things: null,
  /** By a thing's area: "keep" or "change". */
  marks: {},
  /** What was painted over it to stay, as brush.mjs has it. */
  strokes: [],
  styles: [],
  /** Whether several styles may be chosen. */
  several: false,
  /** Pictures of each style. */
  variations: 1,
  prompt: "",
  structure: STRUCTURE,
  /** 0: the models' own. */
  strength: 0,
  colours: [],
  seed: "",
  /** Whether a picture with a visible label is made too. */
  label: true,
});

/**
 * Those wishes; with `photo`, `{blob, width, height, url}` or null, of one that this browser cannot show `blob` alone; `reference`,
 * a picture whose colours are wanted, alike; `again`: of wishes that come from a room, the texts that say what could not be
 * brought back, otherwise null.
 */
export const draft = { photo: null, reference: null, again: null, ...fresh() };

const wishesOf = (of) => Object.fromEntries(Object.keys(fresh()).map((name) => [name, of[name]]));

/** What was sent for the jobs of this visit, by their ids: `{photo, reference, wishes}`. */
export const sent = new Map();

// The draft of this tab from before it was loaded again: its wishes are with the tab, its files among what the device keeps.

function read() {
  try {
    return JSON.parse(ofTab.get(SAVED));
  } catch {
    return null;
  }
}

let saved = read();
const tab = saved?.tab ?? `${randomSeed()}`;
const fileOf = (which) => `draft/${tab}/${which}`;
if (saved) Object.assign(draft, wishesOf({ ...fresh(), ...saved }), { again: saved.again });
holdDraft(tab);

/** For the case that the page is loaded again: all else works without. */
const save = () => ofTab.set(SAVED, JSON.stringify({ tab, again: draft.again, ...wishesOf(draft) }));

/** Takes changes of it. */
export function change(values) {
  Object.assign(draft, values);
  save();
  if ("photo" in values) keepFile(fileOf("photo"), draft.photo?.blob);
  if ("reference" in values) keepFile(fileOf("reference"), draft.reference?.blob);
}

/** Begins anew with a photo that has its address. */
export const setPhoto = (photo) => change({ photo, things: null, marks: {}, strokes: [], again: null });

/** Whether files may come back, which `restoreFiles` does: once. */
export const mayRestore = () => saved !== null && draft.photo === null;

export async function restoreFiles() {
  saved = null;
  const [photo, reference] = await Promise.all(["photo", "reference"].map(async (which) => prepared(await keptFile(fileOf(which)))));
  if (draft.photo) return;
  if (photo) Object.assign(draft, { photo, reference }, !photo.url && { things: null });
  else change({ things: null, marks: {}, strokes: [], again: null });
}

/** Has the wishes of a room in place of those of the draft, with its files. `lost`: texts that say what is not here any more. */
export const bringBack = (files, wishes, lost) =>
  // In a photo that this browser cannot show, things are looked for anew: with them come its outlines.
  change({ ...wishesOf({ ...fresh(), ...wishes }), ...files, again: lost, ...(!files.photo.url && { things: null }) });

/** Lets go of what was sent for a job that is erased; of the draft too, if it has the same photo and no other job has. */
export function letGo(id) {
  const photo = sent.get(id)?.photo.blob;
  sent.delete(id);
  if (photo && draft.photo?.blob === photo && ![...sent.values()].some((each) => each.photo.blob === photo)) startOver();
}

/** Begins anew with nothing. */
export const startOver = () => change({ photo: null, reference: null, again: null, ...fresh() });

/** The service's preferences for the wishes: what was left alone is left out. */
function preferences(wishes) {
  const wanted = { preview_every: PREVIEW_EVERY };
  if (wishes.prompt.trim()) wanted.prompt = wishes.prompt.trim();
  if (wishes.structure !== STRUCTURE) wanted.structure = wishes.structure;
  if (wishes.strength > 0) wanted.strength = wishes.strength;
  if (wishes.colours.length) wanted.color_palette = wishes.colours;
  if (wishes.seed !== "") wanted.seed = Number(wishes.seed);
  if (wishes.label) wanted.label = true;
  for (const mark of ["keep", "change"]) {
    const areas = marked(mark, wishes).map((thing) => thing.area);
    if (areas.length) wanted[mark] = areas;
  }
  return wanted;
}

/** The things with this mark. */
export const marked = (mark, { things, marks } = draft) => (things ?? []).filter((thing) => marks[thing.area] === mark);

/** The wishes of a room of which no more is known than its style. */
export const wishesFor = (style) => ({ ...fresh(), styles: [style] });

/** Submits `{photo, reference}` as it is wished, with another seed if one is given; goes to the job. Raises Trouble. */
export async function restyle({ photo, reference }, wishes, seed = wishes.seed) {
  // The reader may go on choosing meanwhile.
  const asked = { ...wishesOf(wishes), reference: Boolean(reference) };
  const mask = await maskOf(asked.strokes, photo);
  const id = await submit({ photo, mask, reference }, { ...asked, preferences: preferences({ ...asked, seed }) });
  remember(id, asked);
  if (reference?.blob.size < MOST_REFERENCE) keepFile(`rooms/${id}/reference`, reference.blob);
  sent.set(id, { photo, reference, wishes: asked });
  location.hash = `#/room/${id}`;
}
