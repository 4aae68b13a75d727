/** What is being put together: it stays while one looks at other views, and goes with the tab. */
import { remember } from "./memory.mjs";
import { submit } from "./api.mjs";

/** Steps between previews. */
const PREVIEW_EVERY = 1;

export const draft = {
  /** `{blob, width, height, url}` or null. */
  photo: null,
  style: null,
  prompt: "",
  structure: 0.5,
  /** 0: the models' own. */
  strength: 0,
  colours: [],
  seed: "",
};

/** The photos of this visit's jobs, by the job's id. */
export const photos = new Map();

export function setPhoto(photo) {
  draft.photo = photo && { ...photo, url: URL.createObjectURL(photo.blob) };
}

/** The service's preferences for the draft: what was left alone is left out. */
export function preferences() {
  const wanted = { preview_every: PREVIEW_EVERY };
  if (draft.prompt.trim()) wanted.prompt = draft.prompt.trim();
  if (draft.structure !== 0.5) wanted.structure = draft.structure;
  if (draft.strength > 0) wanted.strength = draft.strength;
  if (draft.colours.length) wanted.color_palette = draft.colours;
  if (draft.seed !== "") wanted.seed = Number(draft.seed);
  return wanted;
}

/** Submits a photo, and goes to its job. */
export async function restyle(photo, style, wanted) {
  const id = await submit(photo.blob, style, wanted);
  remember(id, { style, preferences: wanted });
  photos.set(id, photo);
  location.hash = `#/room/${id}`;
}
