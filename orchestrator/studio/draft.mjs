/** What is being put together: it stays while one looks at other views, and goes with the tab. */
import { submit } from "./api.mjs";
import { remember } from "./memory.mjs";

/** Steps between previews. */
export const PREVIEW_EVERY = 1;
/** The service's own middle. */
const STRUCTURE = 0.5;

export const draft = {
  /** `{blob, width, height, url}` or null. Of one that this browser cannot show, `blob` alone is there. */
  photo: null,
  /** What the models see in it, `[{label, number, area, box}]`, the largest first; null: they have not said yet. */
  things: null,
  /** By a thing's place among them: "keep" or "change". */
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
  /** A picture whose colours are wanted, like `photo`, or null. */
  reference: null,
  seed: "",
  /** Whether a picture with a visible label is made too. */
  label: true,
};

/** What was sent for the jobs of this visit, by their ids: `{photo, mask, reference}`. */
export const sent = new Map();

export const withAddress = (photo) => (photo.width ? { ...photo, url: URL.createObjectURL(photo.blob) } : photo);

/** Begins anew with a photo that has its address. */
export function setPhoto(photo) {
  Object.assign(draft, { photo, things: null, marks: {}, strokes: [] });
}

/** The service's preferences for the draft: what was left alone is left out. */
export function preferences() {
  const wanted = { preview_every: PREVIEW_EVERY };
  if (draft.prompt.trim()) wanted.prompt = draft.prompt.trim();
  if (draft.structure !== STRUCTURE) wanted.structure = draft.structure;
  if (draft.strength > 0) wanted.strength = draft.strength;
  if (draft.colours.length) wanted.color_palette = draft.colours;
  if (draft.seed !== "") wanted.seed = Number(draft.seed);
  if (draft.label) wanted.label = true;
  for (const mark of ["keep", "change"]) {
    const areas = marked(mark).map((thing) => thing.area);
    if (areas.length) wanted[mark] = areas;
  }
  return wanted;
}

/** The things with this mark. */
export const marked = (mark) => (draft.things ?? []).filter((_, place) => draft.marks[place] === mark);

/** Submits `{photo, mask, reference}` for `{styles, variations, preferences}`, and goes to the job. */
export async function restyle(files, wanted) {
  const id = await submit(files, wanted);
  remember(id, { ...wanted, more: Boolean(files.mask || files.reference) });
  sent.set(id, files);
  location.hash = `#/room/${id}`;
}
