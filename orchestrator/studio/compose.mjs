/** The first view: a photo, a style, wishes, and the button. */
import { Trouble } from "./api.mjs";
import { Card } from "./card.mjs";
import { takeEarly } from "./page.mjs";
import { lastRooms, takeShared } from "./kept.mjs";
import { change as changeDraft, draft, mayRestore, restoreFiles, restyle, setPhoto } from "./draft.mjs";
import { Gallery } from "./gallery.mjs";
import { Heading, TroubleBox } from "./parts.mjs";
import { pictureOf, prepared, sample } from "./photo.mjs";
import { Stage } from "./stage.mjs";
import { html, useEffect, useRef, useState } from "./ui.mjs";
import { Wishes } from "./wishes.mjs";
import { t } from "./words.mjs";

export function Compose() {
  const [, redraw] = useState(0);
  const [photoTrouble, setPhotoTrouble] = useState(null);
  const [trouble, setTrouble] = useState(null);
  const [busy, setBusy] = useState("");
  const [dragging, setDragging] = useState(false);
  const isOwn = useRef(false);
  const change = (values) => {
    changeDraft(values);
    redraw((n) => n + 1);
  };

  async function take(getFile) {
    setPhotoTrouble(null);
    setBusy("reading");
    try {
      setPhoto(await prepared(await getFile()));
      redraw((n) => n + 1);
    } catch (error) {
      setPhotoTrouble(error instanceof Trouble ? error : new Trouble("unreadable_photo"));
    } finally {
      setBusy("");
    }
  }
  const takeFile = (file) => file && take(() => file);
  const restore = async () => {
    if (!mayRestore()) return;
    await restoreFiles().catch(() => {});
    redraw((n) => n + 1);
  };

  useEffect(() => {
    const early = takeEarly();
    if (early === "sample") take(sample);
    else if (early) takeFile(early);
    else takeShared().then((shared) => (shared ? takeFile(shared) : restore()));
    const pasted = (event) => {
      // Word processors put a picture of the text beside it.
      if (!event.clipboardData.types.includes("text/plain")) takeFile(pictureOf(event.clipboardData));
    };
    addEventListener("paste", pasted);
    return () => removeEventListener("paste", pasted);
  }, []);

  async function send(event) {
    event.preventDefault();
    setTrouble(null);
    setBusy("sending");
    try {
      await restyle(draft, draft);
      changeDraft({ again: null });
    } catch (error) {
      setTrouble(error);
      setBusy("");
    }
  }
  // Words may be dragged into their field, and browsers let one drag this page's own pictures as files.
  const brings = (event) => !isOwn.current && event.dataTransfer.types.includes("Files");
  const drop = (event) => {
    setDragging(false);
    if (!brings(event)) return;
    event.preventDefault();
    takeFile(pictureOf(event.dataTransfer));
  };
  const drag = (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    setDragging(event.type === "dragover");
  };
  const own = (event) => (isOwn.current = event.type === "dragstart");
  const pictures = draft.styles.length * draft.variations;

  return html`<form class="compose" onSubmit=${send} onDrop=${drop} onDragOver=${drag} onDragLeave=${drag}
    onDragStart=${own} onDragEnd=${own}>
    <section class="stage" aria-label=${t("photo")}>
      <${Heading}>${t("title")}<//>
      ${draft.again && html`<p class="note">${[t("broughtBack"), ...draft.again.map((each) => t(each))].join(" ")}${" "}
        <button type="button" class="link to-styles" onClick=${toStyles}>${t("toStyles")}</button></p>`}
      <${Stage} dragging=${dragging} busy=${busy} take=${take} change=${change} />
      <${TroubleBox} trouble=${photoTrouble} />
      ${!draft.photo && html`<${Last} />`}
    </section>
    <section class="wishes" aria-label=${t("wishes")}>
      <${Gallery} change=${change} setTrouble=${setTrouble} />
      <${Wishes} change=${change} setTrouble=${setTrouble} />
      <${TroubleBox} trouble=${trouble} />
      <div class="send ${draft.photo ? "ready" : ""}">
        <button class="main" disabled=${!draft.photo || !pictures || busy !== ""}>
          ${busy === "sending" ? t("sending") : pictures > 1 ? t("restyleSeveral", { n: pictures }) : t("restyle")}
        </button>
        ${!draft.photo && html`<p class="hint">${t("photoFirst")}</p>`}
      </div>
    </section>
    <p class="visually-hidden" role="status">${busy && t(busy)}</p>
  </form>`;
}

const toStyles = () => document.querySelector(".styles").scrollIntoView();

/** So many of the rooms of before are shown. */
const MOST_LAST = 3;

/** The last rooms of this device, for who comes back. */
function Last() {
  const [rooms, setRooms] = useState([]);
  useEffect(() => void lastRooms(MOST_LAST).then(setRooms), []);
  if (!rooms.length) return null;
  return html`<section class="last" aria-label=${t("lastRooms")}>
    <div class="row spread"><h2>${t("lastRooms")}</h2><a href="#/rooms">${t("allRooms")}</a></div>
    <ul class="cards">${rooms.map(({ job, picture }) => html`<${Card} key=${job.job_id} job=${job} picture=${picture} />`)}</ul>
  </section>`;
}
