/** How the service is now. */
import { Heading, TroubleBox } from "../parts.mjs";
import { html } from "../ui.mjs";
import { named, t } from "../words.mjs";
import { daysAgo, query, read } from "./api.mjs";
import { Chart } from "./charts.mjs";
import { bytes, day, money, number, seconds, share } from "./format.mjs";
import { Jobs, qualityName } from "./jobs.mjs";
import { useLive } from "./live.mjs";
import { Badge, Bar, Nothing, Tile, Tiles, useKeyNames } from "./parts.mjs";

const PARTS = ["redis", "triton", "storage", "websocket", "workers"];

const now = async (signal) => {
  const [health, floor, levels] = await Promise.all([read("health", signal), read("admin/floor", signal), read("admin/levels", signal)]);
  return { health, floor: floor.data, levels: levels.data };
};
const month = async (signal) => {
  const [usage, stored] = await Promise.all([read(`usage${query({ since: daysAgo(1), by: "outcome" })}`, signal), read("debug/storage/stats", signal)]);
  return { usage: usage.data, stored };
};

export function Overview() {
  const { data, trouble } = useLive(now, 3);
  const { data: slow } = useLive(month, 60);
  const keyName = useKeyNames();
  return html`<section class="view">
    <${Heading}>${t("overview")}<//>
    <${TroubleBox} trouble=${trouble} />
    ${data === null ? !trouble && html`<${Nothing} data=${null} />` : html`
      <${Health} health=${data.health} />
      <${Figures} floor=${data.floor} levels=${data.levels} slow=${slow} />
      <div class="columns">
        <${Waiting} counts=${data.floor.counts} stats=${data.floor.stats} />
        <${Ended} levels=${data.levels} />
      </div>
      <${Now} floor=${data.floor} keyName=${keyName} />`}
  </section>`;
}

function Health({ health }) {
  const down = PARTS.filter((part) => health.services[part].status !== "up");
  return html`<div class="health ${down.length ? "bad" : "good"}">
    <p role="status"><strong>${down.length ? t("partsDown", { parts: down.map((part) => named("parts", part)).join(", ") }) : t("allUp")}</strong></p>
    <ul>${PARTS.map((part) => {
      const { status, latency_ms: latency, detail } = health.services[part];
      return html`<li key=${part}>
        <${Badge} state=${status === "up" ? "good" : "bad"}>${t(status === "up" ? "up" : "down")}<//>
        <span>${named("parts", part)} <span class="soft">${t("milliseconds", { n: number(latency, latency < 10 ? 1 : 0) })}</span></span>
        ${detail && html`<span class="detail" lang="en">${detail}</span>`}
      </li>`;
    })}</ul>
  </div>`;
}

function Figures({ floor, levels, slow }) {
  const { stats } = floor;
  const { objectives } = levels;
  const today = levels.days.at(-1);
  const budget = slow?.usage.budget;
  const judged = (value, most) => (value === null || value === undefined ? undefined : value > most ? "bad" : "good");
  const waiting = stats.queued + stats.delayed + stats.declined;
  return html`<${Tiles}>
    <${Tile} name=${t("waitingJobs")} value=${number(waiting)} note=${stats.delayed + stats.declined ? t("heldBack", { n: number(stats.delayed + stats.declined) }) : null} />
    <${Tile} name=${t("runningJobs")} value=${number(stats.running)} note=${t("ofWorkers", { n: number(stats.workers) })} />
    <${Tile} name=${t("oldestWait")} value=${seconds(stats.oldest_wait)} note=${t("atMost", { most: seconds(objectives.oldest_wait) })} state=${judged(stats.oldest_wait, objectives.oldest_wait)} />
    <${Tile} name=${t("totalP95")} value=${seconds(today.total_p95)} note=${t("atMost", { most: seconds(objectives.total_p95) })} state=${judged(today.total_p95, objectives.total_p95)} />
    <${Tile} name=${t("failedToday")} value=${today.failed_share === null ? "–" : share(today.failed_share)} note=${t("atMost", { most: share(objectives.failed_share) })} state=${judged(today.failed_share, objectives.failed_share)} />
    <${Tile} name=${t("madeToday")} value=${number(today.completed)} note=${today.total_p50 === null ? null : t("halfWithin", { time: seconds(today.total_p50) })} />
    <${Tile} name=${t("letters")} value=${number(stats.dead_letters)} state=${stats.dead_letters ? "bad" : undefined}>${stats.dead_letters > 0 && html` <a href="#/letters">${t("look")}</a>`}<//>
    ${budget && html`<${Tile} name=${t("budget")} value=${money(budget.spent, slow.usage.currency)} state=${budget.spent >= budget.amount ? "bad" : undefined} note=${t("ofBudget", { amount: money(budget.amount, slow.usage.currency), day: day(budget.next_month_at) })}>
      <${Bar} value=${Math.min(budget.spent, budget.amount)} most=${budget.amount} name=${t("budget")} /><//>`}
    ${slow && html`<${Tile} name=${t("stored")} value=${bytes(slow.stored.bytes)} note=${t("objects", { n: number(slow.stored.objects) })} />`}
  <//>`;
}

function Waiting({ counts, stats }) {
  const counted = counts.reduce((sum, each) => sum + each.jobs, 0);
  const waiting = stats.queued + stats.delayed + stats.declined;
  return html`<section class="card"><h2>${t("queueBy")}</h2>
    ${counts.length === 0 ? html`<p class="nothing">${t("nothingWaits")}</p>` : html`<ul class="bars">${counts.map(({ priority, tier, jobs }) => html`<li key=${priority + tier}>
      <span>${qualityName(tier)} ${priority === "high" && html`<${Badge} state="plain">${t("high")}<//>`}</span><strong>${number(jobs)}</strong>
      <${Bar} value=${jobs} most=${counted} name=${qualityName(tier)} />
    </li>`)}</ul>`}
    ${waiting > counted && html`<p class="hint">${t("onlyFirst", { n: number(counted) })}</p>`}
  </section>`;
}

function Ended({ levels }) {
  const series = [{ name: t("completed"), kind: "good" }, { name: t("failedOnes"), kind: "bad" }, { name: t("cancelled"), kind: "quiet" }];
  const days = levels.days.map((each) => ({ day: each.day, values: [each.completed, each.failed, each.cancelled] }));
  return html`<section class="card"><h2 class="visually-hidden">${t("jobsByDay")}</h2>
    <${Chart} title=${t("jobsByDay")} days=${days} series=${series} format=${(value) => number(value)} /></section>`;
}

function Now({ floor, keyName }) {
  const running = floor.workers.flatMap((each) => each.jobs);
  const list = (title, jobs, more) => html`<section class="card"><h2>${title}</h2>
    ${jobs.length === 0 ? html`<p class="nothing">${t("none")}</p>` : html`<${Jobs} jobs=${jobs} keyName=${keyName} title=${title} />`}
    ${more > 0 && html`<p class="hint">${t("andMore", { n: number(more) })}</p>`}
  </section>`;
  const { stats } = floor;
  return html`${list(t("runningNow"), running, stats.running - running.length)}
    ${list(t("waitingFirst"), floor.waiting, stats.queued + stats.delayed + stats.declined - floor.waiting.length)}`;
}
