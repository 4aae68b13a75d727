/** Two pictures of one room, one over the other, with a border that a mouse, a finger or the arrow keys move. */
import { html, useState } from "./ui.mjs";
import { percent, t } from "./words.mjs";

export function Compare({ before, after, width, height, onBroken }) {
  const [at, setAt] = useState(50);
  const place = { "--at": `${at}%`, ...(width && height && { "--shape": width / height }) };
  return html`<div class="compare" style=${place}>
    <img src=${after} alt=${t("after")} width=${width} height=${height} onError=${onBroken} />
    <img class="before" src=${before} alt=${t("before")} width=${width} height=${height} onError=${onBroken} />
    <span class="mark left" aria-hidden="true" hidden=${at < 12}>${t("before")}</span>
    <span class="mark right" aria-hidden="true" hidden=${at > 88}>${t("after")}</span>
    <span class="border" aria-hidden="true"></span>
    <input type="range" min="0" max="100" value=${at} aria-label=${t("compare")}
      aria-valuetext=${t("beforeShare", { share: percent(at / 100) })} onInput=${(event) => setAt(Number(event.target.value))} />
  </div>`;
}
