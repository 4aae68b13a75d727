/** The first view: a photo, a style, wishes, and the button. */
import { Trouble, styles as askStyles } from "./api.mjs";
import { draft, preferences, restyle, setPhoto } from "./draft.mjs";
import { keepStyles, keptStyles, takeShared } from "./kept.mjs";
import { here, takeEarly } from "./page.mjs";
import { Heading, TroubleBox } from "./parts.mjs";
import { pictureOf, prepare, sample } from "./photo.mjs";
import { html, useEffect, useRef, useState } from "./ui.mjs";
import { learnTitles, named, percent, styleTitle, t } from "./words.mjs";

/** Styles that are shown before all are asked for. */
const FIRST = 9;
/** What the models are told, with what is shown for it. */
const COLOURS = {
  white: "#f7f5f0", beige: "#d9c6a5", "light grey": "#c9c9c6", charcoal: "#3f4246", black: "#1a1a1a", "warm brown": "#7a5236",
  terracotta: "#c4633f", mustard: "#d3a12c", "sage green": "#9caf88", "forest green": "#2f5d43", teal: "#1f7a7a",
  "navy blue": "#22375f", "sky blue": "#8fbbdb", "dusty pink": "#d8a7a7", burgundy: "#7a2338",
};
const MOST_COLOURS = 8;
const LONGEST_PROMPT = 1000;

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
      setPhoto(await prepare(await getFile()));
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
      await restyle(draft.photo, draft.style, preferences());
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

  return html`<form class="compose" onSubmit=${send} onDrop=${drop} onDragOver=${drag} onDragLeave=${drag}>
    <section class="stage" aria-label=${t("photo")}>
      <${Heading}>${t("title")}<//>
      <${Photo} dragging=${dragging} busy=${busy} take=${take} takeFile=${takeFile} />
      <${TroubleBox} trouble=${photoTrouble} />
    </section>
    <section class="wishes" aria-label=${t("wishes")}>
      <${Styles} change=${change} setTrouble=${setTrouble} />
      <${Wishes} change=${change} />
      <${TroubleBox} trouble=${trouble} />
      <div class="send ${draft.photo ? "ready" : ""}">
        <button class="main" disabled=${!draft.photo || !draft.style || busy !== ""}>
          ${busy === "sending" ? t("sending") : t("restyle")}
        </button>
        ${!draft.photo && html`<p class="hint">${t("photoFirst")}</p>`}
      </div>
    </section>
    <p class="visually-hidden" role="status">${busy && t(busy)}</p>
  </form>`;
}

function Photo({ dragging, busy, take, takeFile }) {
  const { photo } = draft;
  const chosen = (event) => {
    takeFile(event.target.files[0]);
    event.target.value = "";
  };
  const choices = html`
    <label class="button ${photo ? "plain" : ""}">${photo ? t("otherPhoto") : t("choosePhoto")}
      <input type="file" class="visually-hidden" accept="image/*" onChange=${chosen} />
    </label>
    <label class="button plain camera">${t("takePhoto")}
      <input type="file" class="visually-hidden" accept="image/*" capture="environment" onChange=${chosen} />
    </label>`;
  if (photo) {
    return html`<figure class="photo" aria-busy=${busy === "reading"}>
      <img src=${photo.url} alt=${t("yourPhoto")} width=${photo.width} height=${photo.height} />
      <figcaption class="row">${choices}</figcaption>
    </figure>`;
  }
  return html`<div class="drop ${dragging ? "over" : ""}" aria-busy=${busy === "reading"}>
    <p class="lead">${t("startWithPhoto")}</p>
    <div class="row">${choices}</div>
    <p class="hint wide-only">${t("dropOrPaste")}</p>
    <button type="button" class="link" onClick=${() => take(sample)}>${t("sampleRoom")}</button>
  </div>`;
}

function Styles({ change, setTrouble }) {
  const [offered, setOffered] = useState(null);
  const [all, setAll] = useState(false);
  const kept = useRef(null);
  const again = async () => {
    setTrouble(null);
    try {
      const answer = await askedOrKept();
      kept.current = answer;
      learnTitles(answer.data);
      const usable = answer.data.filter((each) => each.in_plan);
      setOffered(usable);
      if (!usable.some((each) => each.name === draft.style)) change({ style: usable.find((each) => each.name === answer.default)?.name ?? usable[0]?.name ?? null });
    } catch (error) {
      setTrouble(error);
      setOffered([]);
    }
  };
  useEffect(() => void again(), []);
  const shown = (offered ?? []).filter((each, place) => all || place < FIRST || each.name === draft.style);
  useEffect(() => {
    if (shown.length) keepStyles(kept.current, shown);
  }, [offered, all]);
  if (offered === null) return html`<div class="styles loading" aria-hidden="true"></div>`;
  return html`<fieldset class="styles">
    <legend>${t("style")}</legend>
    <div class="gallery">
      ${shown.map((each) => html`<label key=${each.name} class="style">
        <input type="radio" name="style" value=${each.name} checked=${each.name === draft.style} onChange=${() => change({ style: each.name })} />
        ${each.picture ? html`<img src=${here(each.picture.url)} alt="" width="160" height="120" loading="lazy" />` : html`<${Swatches} colours=${each.colors} />`}
        <span>${styleTitle(each.name)}</span>
      </label>`)}
    </div>
    ${offered.length > shown.length && html`<button type="button" class="link" onClick=${() => setAll(true)}>${t("allStyles", { n: offered.length })}</button>`}
    ${offered.length === 0 && html`<button type="button" class="link" onClick=${again}>${t("again")}</button>`}
  </fieldset>`;
}

/** The styles; without a network those that this device kept. Raises Trouble. */
async function askedOrKept() {
  try {
    return await askStyles();
  } catch (error) {
    const found = error.code === "offline" ? await keptStyles() : null;
    if (!found) throw error;
    return found;
  }
}

const Swatches = ({ colours }) => html`<span class="swatches" aria-hidden="true">
  ${(colours.length ? colours : ["#b9b2a6"]).map((each) => html`<i key=${each} style=${{ background: each }}></i>`)}
</span>`;

function Wishes({ change }) {
  const more = useRef();
  const badSeed = draft.seed !== "" && !(Number.isSafeInteger(Number(draft.seed)) && Number(draft.seed) >= 0);
  return html`
    <div class="field">
      <label for="prompt">${t("prompt")}</label>
      <textarea id="prompt" rows="2" maxlength=${LONGEST_PROMPT} placeholder=${t("promptExample")} value=${draft.prompt}
        onInput=${(event) => change({ prompt: event.target.value })}></textarea>
    </div>
    <${Slider} id="structure" label=${t("structure")} value=${draft.structure} min="0" max="1" step="0.05"
      shown=${percent(draft.structure)} hint=${t("structureHint")} onChange=${(structure) => change({ structure })} />
    <details class="more" ref=${more}>
      <summary>${t("more")}</summary>
      <fieldset class="colours">
        <legend>${t("colours")}</legend>
        ${Object.entries(COLOURS).map(([colour, shown]) => {
          const on = draft.colours.includes(colour);
          const toggled = on ? draft.colours.filter((each) => each !== colour) : [...draft.colours, colour];
          return html`<label key=${colour} class="colour">
            <input type="checkbox" checked=${on} disabled=${!on && draft.colours.length === MOST_COLOURS} onChange=${() => change({ colours: toggled })} />
            <i style=${{ background: shown }} aria-hidden="true"></i>${named("colours", colour)}
          </label>`;
        })}
      </fieldset>
      <${Slider} id="strength" label=${t("strength")} value=${draft.strength} min="0" max="1" step="0.05"
        shown=${draft.strength ? percent(draft.strength) : t("automatic")} hint=${t("strengthHint")} onChange=${(strength) => change({ strength })} />
      <div class="field">
        <label for="seed">${t("seed")}</label>
        <input id="seed" inputmode="numeric" pattern="[0-9]{0,15}" autocomplete="off" placeholder=${t("random")} value=${draft.seed}
          aria-describedby="seed-hint" aria-invalid=${badSeed} onInput=${(event) => change({ seed: event.target.value.trim() })} />
        <p class="hint" id="seed-hint">${t("seedHint")}</p>
      </div>
    </details>`;
}

function Slider({ id, label, value, min, max, step, shown, hint, onChange }) {
  return html`<div class="field">
    <div class="ends"><label for=${id}>${label}</label><output for=${id}>${shown}</output></div>
    <input type="range" id=${id} min=${min} max=${max} step=${step} value=${value} aria-valuetext=${shown} aria-describedby="${id}-hint"
      onInput=${(event) => onChange(Number(event.target.value))} />
    <p class="hint" id="${id}-hint">${hint}</p>
  </div>`;
}
