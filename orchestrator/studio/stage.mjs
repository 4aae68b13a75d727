/** The place of the photo: ways to choose one, and what is marked on it. */
import { draft } from "./draft.mjs";
import { Marking } from "./marking.mjs";
import { sample } from "./photo.mjs";
import { html, useEffect, useRef } from "./ui.mjs";
import { t } from "./words.mjs";

/** Some computers do not know HEIC as a picture. Phones do, and iPhones make a JPEG of it for who does not name it. */
const PICTURES = matchMedia("(pointer: coarse)").matches ? "image/*" : "image/*,.heic,.heif,.avif";

/** `take` gets a function that gives the file. */
export function Stage({ dragging, busy, take, change }) {
  const { photo } = draft;
  const choices = html`
    <${FileButton} plain=${photo} small=${photo} label=${photo ? t("otherPhoto") : t("choosePhoto")} take=${take} />
    <${FileButton} plain camera small=${photo} label=${t("takePhoto")} take=${take} />`;
  if (photo) {
    return html`<${Chosen}>
      <${Marking} key=${photo.blob} photo=${photo} busy=${busy} change=${change} />
      <div class="row">${choices}</div>
    <//>`;
  }
  return html`<div class="drop ${dragging ? "over" : ""}" aria-busy=${busy === "reading"}>
    <p class="lead">${t("startWithPhoto")}</p>
    <div class="row">${choices}</div>
    <p class="hint wide-only">${t("dropOrPaste")}</p>
    <button type="button" class="link" onClick=${() => take(sample)}>${t("sampleRoom")}</button>
  </div>`;
}

/** What was pressed to choose the photo is gone: the focus goes to what has come in its place, and not to the end of it. */
function Chosen({ children }) {
  const at = useRef();
  useEffect(() => {
    if (document.activeElement === document.body) at.current.focus({ preventScroll: true });
  }, []);
  return html`<div ref=${at} class="photo" tabindex="-1" role="group" aria-label=${t("yourPhoto")}>${children}</div>`;
}

/** A button that asks for a picture: from the device, or of its camera. */
export function FileButton({ label, take, plain, camera, small }) {
  const chosen = (event) => {
    const [file] = event.target.files;
    if (file) take(() => file);
    event.target.value = "";
  };
  return html`<label class="button ${plain ? "plain" : ""} ${camera ? "camera" : ""} ${small ? "small" : ""}">${label}
    <input type="file" class="visually-hidden" accept=${PICTURES} capture=${camera ? "environment" : undefined} onChange=${chosen} />
  </label>`;
}
