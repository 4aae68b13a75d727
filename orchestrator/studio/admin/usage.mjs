/** What was used, by day and by key. */
import { Heading, TroubleBox } from "../parts.mjs";
import { html, useState } from "../ui.mjs";
import { t } from "../words.mjs";
import { daysAgo, query, read } from "./api.mjs";
import { Chart, everyDay } from "./charts.mjs";
import { day, money, number, seconds } from "./format.mjs";
import { useLive } from "./live.mjs";
import { Bar, Nothing, Period, Tile, Tiles, useKeyNames } from "./parts.mjs";

const OUTCOMES = ["completed", "failed", "cancelled"];
const KEYS = 50;

export function Usage() {
  const [days, setDays] = useState(30);
  const [only, setOnly] = useState("");
  const keyName = useKeyNames();
  const { data, trouble } = useLive(async (signal) => {
    const asked = { since: daysAgo(days), key: only };
    const [byDay, byKey] = await Promise.all([
      read(`usage${query({ ...asked, by: ["day", "outcome"] })}`, signal),
      read(`usage${query({ since: daysAgo(days), by: ["key"] })}`, signal),
    ]);
    return { ...byDay.data, keys: byKey.data.lines, more: byKey.data.lines_left_out };
  }, 30, [days, only]);
  return html`<section class="view">
    <${Heading}>${t("usage")}<//>
    <div class="row filters">
      <${Period} days=${days} choose=${setDays} />
      <label class="field-inline">${t("key")} <select value=${only} onChange=${(event) => setOnly(event.target.value)}>
        <option value="" selected=${only === ""}>${t("allKeys")}</option>
        ${(data?.keys ?? []).filter((each) => each.key).map((each) => html`<option key=${each.key} value=${each.key} selected=${each.key === only}>${keyName(each.key)}</option>`)}
      </select></label>
    </div>
    <${TroubleBox} trouble=${trouble} />
    ${data === null ? !trouble && html`<${Nothing} data=${null} />` : html`<${Shown} data=${data} keyName=${keyName} />`}
  </section>`;
}

function Shown({ data, keyName }) {
  const costs = data.gpu_hour_price > 0 || data.total.cost > 0;
  const cost = (value) => money(value, data.currency);
  const jobs = new Map();
  const sums = new Map();
  for (const line of data.lines) {
    const values = jobs.get(line.day) ?? OUTCOMES.map(() => 0);
    values[OUTCOMES.indexOf(line.outcome)] += line.jobs;
    jobs.set(line.day, values);
    const [spent] = sums.get(line.day) ?? [0];
    sums.set(line.day, [spent + (costs ? line.cost : line.gpu_seconds)]);
  }
  const of = (told, nothing) => everyDay(data.since, data.until, told, nothing);
  const most = Math.max(...data.keys.map((each) => (costs ? each.cost : each.gpu_seconds)), 0);
  const keys = data.keys.slice(0, KEYS);
  const series = [{ name: t("completed"), kind: "good" }, { name: t("failedOnes"), kind: "bad" }, { name: t("cancelled"), kind: "quiet" }];
  return html`
    ${data.since > daysAgo(0) && html`<p class="hint">${t("sinceOnly", { day: day(data.since) })}</p>`}
    <${Tiles}>
      <${Tile} name=${t("jobs")} value=${number(data.total.jobs)} />
      <${Tile} name=${t("gpuTime")} value=${seconds(data.total.gpu_seconds)} />
      ${costs && html`<${Tile} name=${t("cost")} value=${cost(data.total.cost)} note=${t("anHour", { price: cost(data.gpu_hour_price) })} />`}
      ${data.budget && html`<${Tile} name=${t("budget")} value=${cost(data.budget.spent)} state=${data.budget.spent >= data.budget.amount ? "bad" : undefined} note=${t("ofBudget", { amount: cost(data.budget.amount), day: day(data.budget.next_month_at) })}>
        <${Bar} value=${Math.min(data.budget.spent, data.budget.amount)} most=${data.budget.amount} name=${t("budget")} /><//>`}
    <//>
    <div class="columns">
      <section class="card"><${Chart} title=${t("jobsByDay")} days=${of(jobs, OUTCOMES.map(() => 0))} series=${series} format=${(value) => number(value)} /></section>
      <section class="card"><${Chart} title=${t(costs ? "costByDay" : "gpuByDay")} days=${of(sums, [0])} series=${[{ name: t(costs ? "cost" : "gpuTime"), kind: "accent" }]} format=${costs ? cost : seconds} /></section>
    </div>
    <section class="card"><h2>${t("byKey")}</h2>
      ${keys.length === 0 ? html`<p class="nothing">${t("none")}</p>` : html`<div class="scroll" tabindex="0" role="region" aria-label=${t("byKey")}><table>
        <thead><tr><th scope="col">${t("key")}</th><th scope="col" class="number">${t("jobs")}</th><th scope="col" class="number">${t("gpuTime")}</th>${costs && html`<th scope="col" class="number">${t("cost")}</th>`}<th scope="col">${t("share")}</th></tr></thead>
        <tbody>${keys.map((each) => html`<tr key=${each.key}>
          <th scope="row">${keyName(each.key)}</th><td class="number">${number(each.jobs)}</td><td class="number">${seconds(each.gpu_seconds)}</td>
          ${costs && html`<td class="number">${cost(each.cost)}</td>`}
          <td><${Bar} value=${costs ? each.cost : each.gpu_seconds} most=${most} name=${t("shareOf", { name: keyName(each.key) })} /></td>
        </tr>`)}</tbody>
      </table></div>`}
      ${data.keys.length + data.more > KEYS && html`<p class="hint">${t("andMore", { n: number(data.keys.length + data.more - KEYS) })}</p>`}
    </section>`;
}
