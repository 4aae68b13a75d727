/** Each Triton: whether it is up, how busy it is, and what it serves. */
import { Heading, TroubleBox } from "../parts.mjs";
import { html, useRef } from "../ui.mjs";
import { named, t } from "../words.mjs";
import { read } from "./api.mjs";
import { number, seconds, share } from "./format.mjs";
import { useLive } from "./live.mjs";
import { Badge, Bar, Fact, Nothing } from "./parts.mjs";

/** Seconds over which the load is measured, at least. */
const OVER = 5;

/** The model whose version is that of the release. */
const NETWORK = "denoiser";

export function Tritons() {
  const readings = useRef(new Map());
  const { data, trouble } = useLive(async (signal) => {
    const found = (await read("admin/tritons", signal)).data;
    return found.map((each) => ({ ...each, now: measured(readings.current, each) }));
  }, 3);
  return html`<section class="view">
    <${Heading}>${t("tritons")}<//>
    <p class="hint">${t("tritonsHint")}</p>
    <${TroubleBox} trouble=${trouble} />
    ${(data ?? []).length === 0 && !trouble && html`<${Nothing} data=${data}>${t("none")}<//>`}
    <ul class="entries">${(data ?? []).map((each) => html`<${Triton} key=${each.name} triton=${each} />`)}</ul>
  </section>`;
}

function Triton({ triton }) {
  const { up, fault, devices, models, load, now } = triton;
  const version = models[NETWORK];
  return html`<li class="card entry">
    <div class="head"><h2>${triton.name}</h2><${Badge} state=${up ? "good" : "bad"}>${t(up ? "up" : "down")}<//></div>
    ${fault && html`<p class="detail" lang="en">${fault}</p>`}
    ${up && html`<dl class="facts">
      <${Fact} name=${t("busy")}>${now ? html`${share(now.busy, 0)}<${Bar} value=${Math.min(1, now.busy)} most=${1} name=${t("busyOf", { name: triton.name })} />` : t("measuring")}<//>
      <${Fact} name=${t("stepsASecond")}>${now ? number(now.steps, 1) : "–"}<//>
      <${Fact} name=${t("together")}>${now?.together ? number(now.together, 1) : "–"}<//>
      <${Fact} name=${t("stepWaits")}>${now?.waits !== null && now ? seconds(now.waits) : "–"}<//>
      <${Fact} name=${t("device")}>${devices.length ? devices.map((each) => named("devices", each, each)).join(", ") : t("unknown")}<//>
      <${Fact} name=${t("release")}>${version === undefined ? t("unknown") : version < 0 ? t("latest") : t("versionN", { n: version })}<//>
      <${Fact} name=${t("stepsSoFar")}>${load ? number(load.steps) : "–"}<//>
      <${Fact} name=${t("failedCalls")}>${load ? number(load.failures) : "–"}<//>
    </dl>`}
    ${up && Object.keys(models).length > 0 && html`<details><summary>${t("models")}</summary>
      <ul class="plain-list">${Object.entries(models).map(([name, of]) => html`<li key=${name}><code>${name}</code> ${of < 0 ? t("latest") : t("versionN", { n: of })}</li>`)}</ul></details>`}
  </li>`;
}

/** What a Triton did since a reading a few seconds ago; null before there are two. */
function measured(readings, { name, load }) {
  if (!load) return null;
  const at = performance.now() / 1000;
  const kept = (readings.get(name) ?? []).filter((each) => each.steps <= load.steps);
  kept.push({ at, ...load });
  // One that is older than it must be, so that there is always a stretch that is long enough.
  while (kept.length > 2 && at - kept[1].at >= OVER) kept.shift();
  readings.set(name, kept);
  const [first] = kept;
  const time = at - first.at;
  if (time < 1) return null;
  const steps = load.steps - first.steps;
  const batches = load.batches - first.batches;
  return {
    busy: (load.busy_seconds - first.busy_seconds) / time,
    steps: steps / time,
    together: batches ? steps / batches : null,
    waits: steps ? (load.queue_seconds - first.queue_seconds) / steps : null,
  };
}
