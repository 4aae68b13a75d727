/** Bars by day, and the same as a table: a picture alone says nothing to who does not see it. */
import { html } from "../ui.mjs";
import { t } from "../words.mjs";
import { day } from "./format.mjs";

const WIDTH = 600;
const HEIGHT = 150;

/** The next round number: 1, 2 or 5 with zeros. */
function above(value) {
  const size = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 2, 5, 10].map((step) => step * size).find((each) => each >= value);
}

/**
 * `days`: `[{day, values}]`, the oldest first, with a value for each of `series`: `[{name, kind}]`, stacked from below; `kind` is
 * a colour of the style sheet. `format` writes a value.
 */
export function Chart({ title, days, series, format }) {
  const sums = days.map(({ values }) => values.reduce((sum, each) => sum + each, 0));
  const most = above(Math.max(...sums, 0) || 1);
  const total = sums.reduce((sum, each) => sum + each, 0);
  const room = WIDTH / Math.max(1, days.length);
  const peak = days[sums.indexOf(Math.max(...sums))];
  const said = total ? t("chartSaid", { title, total: format(total), most: format(Math.max(...sums)), day: day(peak.day) }) : t("chartEmpty", { title });
  return html`<figure class="chart">
    <figcaption>${title}
      ${series.length > 1 && html`<span class="legend">${series.map(({ name, kind }) => html`<span key=${name}><i class=${`in-${kind}`} />${name}</span>`)}</span>`}
    </figcaption>
    <div class="plot">
      <span class="most" aria-hidden="true">${format(most)}</span>
      <svg role="img" aria-label=${said} viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none">
        ${[0.5, 1].map((part) => html`<line key=${part} class="grid" x1="0" x2=${WIDTH} y1=${HEIGHT * (1 - part) + 0.5} y2=${HEIGHT * (1 - part) + 0.5} />`)}
        ${days.map(({ day: of, values }, at) => html`<${Stack} key=${of} at=${at * room} room=${room} values=${values} most=${most} series=${series} tip=${tip(of, values, series, format)} />`)}
        <line class="floor" x1="0" x2=${WIDTH} y1=${HEIGHT - 0.5} y2=${HEIGHT - 0.5} />
      </svg>
      <div class="ends" aria-hidden="true"><span>${days.length > 0 && day(days[0].day)}</span><span>${days.length > 1 && day(days.at(-1).day)}</span></div>
    </div>
    <details><summary>${t("figures")}</summary>
      <div class="scroll" tabindex="0" role="region" aria-label=${title}><table>
        <thead><tr><th scope="col">${t("day")}</th>${series.map(({ name }) => html`<th key=${name} scope="col" class="number">${name}</th>`)}</tr></thead>
        <tbody>${days.filter((_, at) => sums[at]).reverse().map(({ day: of, values }) => html`<tr key=${of}>
          <th scope="row">${day(of, { year: "numeric" })}</th>${values.map((each, at) => html`<td key=${at} class="number">${format(each)}</td>`)}
        </tr>`)}</tbody>
      </table></div>
    </details>
  </figure>`;
}

const tip = (of, values, series, format) => `${day(of)}: ${values.map((each, at) => (series.length > 1 ? `${series[at].name} ${format(each)}` : format(each))).join(", ")}`;

function Stack({ at, room, values, most, series, tip }) {
  let below = 0;
  const bars = values.map((value, index) => {
    const height = (value / most) * HEIGHT;
    below += height;
    return html`<rect key=${index} class=${`in-${series[index].kind}`} x=${at + room * 0.12} width=${room * 0.76} y=${HEIGHT - below} height=${height} />`;
  });
  return html`<g><title>${tip}</title><rect class="catch" x=${at} width=${room} y="0" height=${HEIGHT} />${bars}</g>`;
}

/** Every day from the first to the last, also those of which nothing is told. `told`: values by day. */
export function everyDay(since, until, told, nothing) {
  const found = [];
  for (let at = new Date(since); at <= new Date(until); at = new Date(at.getTime() + 86400000)) {
    const of = at.toISOString().slice(0, 10);
    found.push({ day: of, values: told.get(of) ?? nothing });
  }
  return found;
}
