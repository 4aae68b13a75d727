/** Small parts that the views share. */
import { html, useState } from "../ui.mjs";
import { t, when } from "../words.mjs";
import { read } from "./api.mjs";
import { ago, short } from "./format.mjs";
import { useLive } from "./live.mjs";

/** A figure with its name. `state`: "good" or "bad", said in words by `note`. */
export const Tile = ({ name, value, note, state, children }) => html`<div class="tile ${state ?? ""}">
  <dt>${name}</dt>
  <dd><strong>${value}</strong>${note && html` <span class="note">${note}</span>`}${children}</dd>
</div>`;

export const Tiles = ({ children }) => html`<dl class="tiles">${children}</dl>`;

export const Badge = ({ state, children }) => html`<span class="badge ${state}">${children}</span>`;

export const Fact = ({ name, wide, children }) => html`<div class=${wide ? "wide" : ""}><dt>${name}</dt><dd>${children}</dd></div>`;

export const Ago = ({ time }) => (time ? html`<time datetime=${time} title=${when(time)}>${ago(time)}</time>` : "–");

/** What a view says while it knows nothing yet, or when there is nothing. */
export const Nothing = ({ data, children }) => html`<p role="status" class="nothing">${data === null ? t("opening") : children}</p>`;

export const Bar = ({ value, most, name }) => html`<progress class="bar" aria-label=${name} value=${value} max=${most || 1} />`;

/** Days to look back. */
export function Period({ days, choose }) {
  return html`<label class="field-inline">${t("period")} <select value=${days} onChange=${(event) => choose(Number(event.target.value))}>
    ${[7, 14, 30, 90].map((n) => html`<option key=${n} value=${n} selected=${n === days}>${t("lastDays", { n })}</option>`)}
  </select></label>`;
}

/** The names of keys by their ids. */
export function useKeyNames() {
  const { data } = useLive(async (signal) => (await read("admin/keys", signal)).data, 60);
  const names = new Map((data ?? []).map((each) => [each.id, each.name]));
  return (id) => (id ? (names.get(id) ?? short(id)) : t("noKey"));
}

/** Something to do that takes a moment: `[busy, trouble, run]`; `run(name, act)` does one thing at a time. */
export function useDoing() {
  const [busy, setBusy] = useState(null);
  const [trouble, setTrouble] = useState(null);
  const run = async (name, act) => {
    setBusy(name);
    setTrouble(null);
    try {
      await act();
    } catch (error) {
      setTrouble(error);
    }
    setBusy(null);
  };
  return [busy, trouble, run];
}
