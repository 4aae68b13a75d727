/** The styles to choose from: one, or several at once; and how many pictures of each. */
import { styles as askStyles } from "./api.mjs";
import { draft } from "./draft.mjs";
import { keepStyles, keptStyles } from "./kept.mjs";
import { here } from "./page.mjs";
import { Segments } from "./parts.mjs";
import { html, useEffect, useRef, useState } from "./ui.mjs";
import { learnTitles, styleTitle, t } from "./words.mjs";

/** Styles that are shown before all are asked for. */
const FIRST = 6;
/** What one submission takes. */
const MOST_STYLES = 8;
const MOST_VARIATIONS = 4;

export function Gallery({ change, setTrouble }) {
  const [offered, setOffered] = useState(null);
  const [all, setAll] = useState(false);
  const answered = useRef(null);
  const { styles, several } = draft;
  const again = async () => {
    setTrouble(null);
    try {
      const answer = await askedOrKept();
      answered.current = answer;
      learnTitles(answer.data);
      const usable = answer.data.filter((each) => each.in_plan);
      setOffered(usable);
      const names = usable.map((each) => each.name);
      const still = draft.styles.filter((each) => names.includes(each));
      change({ styles: still.length ? still : [names.includes(answer.default) ? answer.default : names[0]].filter(Boolean) });
    } catch (error) {
      setTrouble(error);
      setOffered([]);
    }
  };
  useEffect(() => void again(), []);
  const shown = (offered ?? []).filter((each, place) => all || place < FIRST || styles.includes(each.name));
  useEffect(() => {
    if (shown.length) keepStyles(answered.current, shown);
  }, [offered, all]);
  if (offered === null) return html`<div class="styles loading" aria-hidden="true"></div>`;

  const choose = (name) => {
    if (!several) return change({ styles: [name] });
    return change({ styles: styles.includes(name) ? styles.filter((each) => each !== name) : [...styles, name] });
  };
  const switched = (event) => change({ several: event.target.checked, styles: event.target.checked ? styles : styles.slice(0, 1) });
  return html`<fieldset class="styles">
    <legend>${t("style")}</legend>
    <div class="gallery">
      ${shown.map((each) => {
        const on = styles.includes(each.name);
        return html`<label key=${each.name} class="style">
          <input type=${several ? "checkbox" : "radio"} name="style" value=${each.name} checked=${on} disabled=${several && !on && styles.length === MOST_STYLES} onChange=${() => choose(each.name)} />
          ${each.picture ? html`<img src=${here(each.picture.url)} alt="" width="160" height="120" loading="lazy" />` : html`<${Swatches} colours=${each.colors} />`}
          ${illustrates(each) && html`<i class="drawn" aria-hidden="true">✎</i>`}
          <span>${styleTitle(each.name)}</span>
        </label>`;
      })}
    </div>
    ${shown.some(illustrates) && html`<p class="hint">✎ ${t("illustration")}</p>`}
    <div class="row spread">
      <label class="switch"><input type="checkbox" checked=${several} onChange=${switched} />${t("severalStyles")}</label>
      ${offered.length > FIRST && html`<button type="button" class="link" aria-expanded=${all} onClick=${() => setAll(!all)}>${all ? t("fewer") : t("allStyles", { n: offered.length })}</button>`}
      ${offered.length === 0 && html`<button type="button" class="link" onClick=${again}>${t("again")}</button>`}
    </div>
  </fieldset>`;
}

/** Whether a style's picture was made by no release: it shows the style, not what the model here makes of it. */
const illustrates = (style) => Boolean(style.picture) && !style.picture.made_by;

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

/** How many pictures of each style. */
export function Count({ change }) {
  const options = Array.from({ length: MOST_VARIATIONS }, (_, before) => [before + 1, `${before + 1}`]);
  return html`<${Segments} label=${t(draft.styles.length > 1 ? "picturesOfEach" : "howMany")} name="variations" value=${draft.variations}
    choose=${(variations) => change({ variations })} options=${options} />`;
}

const Swatches = ({ colours }) => html`<span class="swatches" aria-hidden="true">
  ${(colours.length ? colours : ["#b9b2a6"]).map((each) => html`<i key=${each} style=${{ background: each }}></i>`)}
</span>`;
