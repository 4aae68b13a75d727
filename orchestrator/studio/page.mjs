/** What the service wrote into the page, and where it is reached from here. */
const { open, api, maxBytes, maxPixels } = document.body.dataset;

/** The service's own root: this file is at studio/VERSION/ below it. */
export const ROOT = new URL("../../", import.meta.url);
export const IS_OPEN = open === "true";
export const MAX_BYTES = Number(maxBytes);
export const MAX_PIXELS = Number(maxPixels);

export const file = (name) => new URL(name, import.meta.url);

/** A link of the service's as it is reached from this page, which may know the service under another name. */
export function here(link) {
  const own = `${api.replace(/\/$/, "")}/`;
  return link.startsWith(own) ? new URL(link.slice(own.length), ROOT).href : link;
}

let early = null;

/** Ends what first.js began: the app is about to draw the page. */
export function takeOver() {
  const root = document.documentElement;
  const files = [...document.querySelectorAll("input[type=file]")].map((each) => each.files[0]);
  early = files.find(Boolean) ?? ("sample" in root.dataset ? "sample" : null);
  delete root.dataset.other;
  delete root.dataset.sample;
}

/** What was chosen before the app was there, once: a file, "sample", or null. */
export function takeEarly() {
  const chosen = early;
  early = null;
  return chosen;
}
