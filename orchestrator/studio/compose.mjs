/** The first view: a photo, a style, wishes, and the button. */
import { Trouble } from "./api.mjs";
import { maskOf } from "./brush.mjs";
import { takeEarly } from "./page.mjs";
import { takeShared } from "./kept.mjs";
import { draft, preferences, restyle, setPhoto, withAddress } from "./draft.mjs";
import { Count, Gallery } from "./gallery.mjs";
import { Heading, TroubleBox } from "./parts.mjs";
import { pictureOf, prepare, sample } from "./photo.mjs";
import { Stage } from "./stage.mjs";
import { html, useEffect, useState } from "./ui.mjs";
import { Wishes } from "./wishes.mjs";
import { t } from "./words.mjs";

export function Compose() {
  const [, redraw] = useState(0);
  const [photoTrouble, setPhotoTrouble] = useState(null);
  const [trouble, setTrouble] = useState(null);
  const [busy, setBusy] = useState("");
  const [dragging, setDragging] = useState(false);
  const change = (values) => {
    Object.assign(draft, values);
    redraw((n) => n + 1);
  };

  async function take(getFile) {
    setPhotoTrouble(null);
    setBusy("reading");
    try {
      setPhoto(withAddress(await prepare(await getFile())));
      redraw((n) => n + 1);
    } catch (error) {
      setPhotoTrouble(error instanceof Trouble ? error : new Trouble("unreadable_photo"));
    } finally {
      setBusy("");
    }
  }
  const takeFile = (file) => file && take(() => file);

  useEffect(() => {
    const early = takeEarly();
    if (early === "sample") take(sample);
    else takeFile(early);
    takeShared().then(takeFile);
    const pasted = (event) => {
      const file = pictureOf(event.clipboardData);
      if (file) takeFile(file);
    };
    addEventListener("paste", pasted);
    return () => removeEventListener("paste", pasted);
  }, []);

  async function send(event) {
    event.preventDefault();
    setTrouble(null);
    setBusy("sending");
    try {
      const { photo, reference, styles, variations } = draft;
      await restyle({ photo, mask: await maskOf(draft.strokes, photo), reference }, { styles, variations, preferences: preferences() });
    } catch (error) {
      setTrouble(error);
      setBusy("");
    }
  }
  const drop = (event) => {
    event.preventDefault();
    setDragging(false);
    takeFile(pictureOf(event.dataTransfer));
  };
  const drag = (event) => {
    event.preventDefault();
    setDragging(event.type === "dragover");
  };
  const pictures = draft.styles.length * draft.variations;

  return html`<form class="compose" onSubmit=${send} onDrop=${drop} onDragOver=${drag} onDragLeave=${drag}>
    <section class="stage" aria-label=${t("photo")}>
      <${Heading}>${t("title")}<//>
      <${Stage} dragging=${dragging} busy=${busy} take=${take} change=${change} />
      <${TroubleBox} trouble=${photoTrouble} />
    </section>
    <section class="wishes" aria-label=${t("wishes")}>
      <${Gallery} change=${change} setTrouble=${setTrouble} />
      <${Count} change=${change} />
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
