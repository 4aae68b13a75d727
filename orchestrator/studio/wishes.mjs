/** What may be wished for beside the style. */
import { Trouble } from "./api.mjs";
import { draft } from "./draft.mjs";
import { Count } from "./gallery.mjs";
import { Slider } from "./parts.mjs";
import { prepared } from "./photo.mjs";
import { FileButton } from "./stage.mjs";
import { html, useState } from "./ui.mjs";
import { named, percent, t } from "./words.mjs";

/** What the models are told, with what is shown for it. */
export const COLOURS = {
  white: "#f7f5f0", beige: "#d9c6a5", "light grey": "#c9c9c6", charcoal: "#3f4246", black: "#1a1a1a", "warm brown": "#7a5236",
  terracotta: "#c4633f", mustard: "#d3a12c", "sage green": "#9caf88", "forest green": "#2f5d43", teal: "#1f7a7a",
  "navy blue": "#22375f", "sky blue": "#8fbbdb", "dusty pink": "#d8a7a7", burgundy: "#7a2338",
};
const MOST_COLOURS = 8;
const LONGEST_PROMPT = 1000;
/** Pixels of a reference's longer side: its colours are all that counts. */
const REFERENCE = 768;

export function Wishes({ change, setTrouble }) {
  // What comes back from a room is to be seen; after that, it is opened and closed by hand.
  const [brought] = useState(() => draft.again !== null && (draft.colours.length > 0 || draft.strength > 0 || draft.seed !== "" || draft.reference !== null));
  const badSeed = draft.seed !== "" && !(Number.isSafeInteger(Number(draft.seed)) && Number(draft.seed) >= 0);
  return html`
    <div class="field">
      <label for="prompt">${t("prompt")}</label>
      <textarea id="prompt" rows="2" maxlength=${LONGEST_PROMPT} placeholder=${t("promptExample")} value=${draft.prompt}
        onInput=${(event) => change({ prompt: event.target.value })}></textarea>
    </div>
    <${Count} change=${change} />
    <${Slider} id="structure" label=${t("structure")} value=${draft.structure} min="0" max="1" step="0.05"
      shown=${percent(draft.structure)} hint=${t("structureHint")} onChange=${(structure) => change({ structure })} />
    <details class="more" open=${brought} onInvalidCapture=${(event) => (event.currentTarget.open = true)}>
      <summary>${t("more")}</summary>
      <${Colours} change=${change} />
      <${Reference} change=${change} setTrouble=${setTrouble} />
      <${Slider} id="strength" label=${t("strength")} value=${draft.strength} min="0" max="1" step="0.05"
        shown=${draft.strength ? percent(draft.strength) : t("automatic")} hint=${t("strengthHint")} onChange=${(strength) => change({ strength })} />
      <div class="field">
        <label for="seed">${t("seed")}</label>
        <input id="seed" inputmode="numeric" pattern="[0-9]{0,16}" autocomplete="off" placeholder=${t("random")} value=${draft.seed}
          aria-describedby="seed-hint" aria-invalid=${badSeed} onInput=${(event) => change({ seed: event.target.value.trim() })} />
        <p class="hint" id="seed-hint">${t("seedHint")}</p>
      </div>
      <div class="field">
        <label class="switch"><input type="checkbox" checked=${draft.label} aria-describedby="label-hint" onChange=${(event) => change({ label: event.target.checked })} />${t("label")}</label>
        <p class="hint" id="label-hint">${t("labelHint")}</p>
      </div>
    </details>`;
}

function Colours({ change }) {
  return html`<fieldset class="colours">
    <legend>${t("colours")}</legend>
    ${Object.entries(COLOURS).map(([colour, shown]) => {
      const on = draft.colours.includes(colour);
      const toggled = on ? draft.colours.filter((each) => each !== colour) : [...draft.colours, colour];
      return html`<label key=${colour} class="colour">
        <input type="checkbox" checked=${on} disabled=${!on && draft.colours.length === MOST_COLOURS} onChange=${() => change({ colours: toggled })} />
        <i style=${{ background: shown }} aria-hidden="true"></i>${named("colours", colour)}
      </label>`;
    })}
  </fieldset>`;
}

/** A picture whose colours are wanted. */
function Reference({ change, setTrouble }) {
  const { reference } = draft;
  const take = async (getFile) => {
    setTrouble(null);
    try {
      change({ reference: await prepared(await getFile(), REFERENCE) });
    } catch (error) {
      setTrouble(error instanceof Trouble ? error : new Trouble("unreadable_photo"));
    }
  };
  return html`<div class="field" role="group" aria-label=${t("reference")}>
    <span class="name">${t("reference")}</span>
    <div class="row">
      ${reference?.url && html`<img class="swatch" src=${reference.url} alt=${t("referenceChosen")} />`}
      <${FileButton} plain small label=${t(reference ? "otherPicture" : "choosePicture")} take=${take} />
      ${reference && html`<button type="button" class="link" onClick=${() => change({ reference: null })}>${t("remove")}</button>`}
    </div>
    <p class="hint">${t("referenceHint")}</p>
  </div>`;
}
