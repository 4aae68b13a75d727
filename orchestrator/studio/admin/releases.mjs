/** Which versions of the models there are, which makes pictures, and which one is on trial. */
import { Trouble } from "../api.mjs";
import { Heading, Question, TroubleBox } from "../parts.mjs";
import { html, useState } from "../ui.mjs";
import { t, when } from "../words.mjs";
import { change, read, save } from "./api.mjs";
import { number, share } from "./format.mjs";
import { useLive } from "./live.mjs";
import { Ago, Badge, Fact, Nothing, useDoing } from "./parts.mjs";

const NETWORK = "denoiser";

/** Whether the service has said that it offers none: it is not asked again. */
let without = false;

async function none() {
  throw new Trouble("not_found");
}

/** `{rollout, versions, statistics}`, or `{serving}`: the versions that Tritons serve, of a service that has no rollouts. */
async function load(signal) {
  try {
    const { data } = without ? await none() : await read("admin/releases", signal);
    return { rollout: data.rollout ?? data, versions: data.versions ?? [], statistics: data.statistics ?? data.trial ?? data.canary?.statistics ?? null };
  } catch (error) {
    if (error.code !== "not_found") throw error;
    without = true;
    const { data } = await read("admin/tritons", signal);
    return { serving: data.filter((each) => each.up).map((each) => ({ name: each.name, version: each.models[NETWORK] })) };
  }
}

export function Releases() {
  const { data, trouble, again } = useLive(load, 5);
  return html`<section class="view">
    <${Heading}>${t("releases")}<//>
    <${TroubleBox} trouble=${trouble} />
    ${data === null ? !trouble && html`<${Nothing} data=${null} />` : data.serving ? html`<${Without} serving=${data.serving} />` : html`<${Rollout} ...${data} again=${again} />`}
  </section>`;
}

function Without({ serving }) {
  return html`<p class="lead">${t("noReleases")}</p><p class="hint">${t("noReleasesHint")}</p>
    <ul class="entries">${serving.map(({ name, version }) => html`<li key=${name} class="card entry"><div class="head"><h2>${name}</h2>
      <${Badge} state="plain">${version === undefined ? t("unknown") : version < 0 ? t("latest") : t("versionN", { n: version })}<//></div></li>`)}</ul>`;
}

function Rollout({ rollout, versions, statistics, again }) {
  const [question, setQuestion] = useState(null);
  const [busy, problem, run] = useDoing();
  const act = (name, doing) => run(name, async () => {
    try {
      await doing();
    } finally {
      again();
    }
  });
  const { live, previous, canary, withdrawn = [] } = rollout;
  const promote = ({ version }) => setQuestion({ title: t("promoteTitle", { n: version }), text: t("promoteText"), yes: t("promote"), act: () => act("promote", () => change(`admin/releases/${version}/promote`, {})) });
  const rollback = () => setQuestion({ title: canary ? t("endTrialTitle", { n: canary.version }) : t("rollbackTitle", { n: previous }), text: t("rollbackText"), yes: t("rollback"), act: () => act("rollback", () => change("admin/releases/rollback", {})) });
  const list = versions.length ? [...versions].sort((a, b) => b.version - a.version) : [live, previous, canary?.version].filter(Boolean).map((version) => ({ version }));
  return html`
    <${TroubleBox} trouble=${problem} />
    <p class="soft">${rollout.changed && html`${t("changed")} <${Ago} time=${rollout.changed} /> · ${rollout.by || t("unknown")}`}</p>
    ${canary && html`<${Trial} canary=${canary} statistics=${statistics} busy=${busy !== null} act=${act} />`}
    ${(canary || previous) && html`<div class="row"><button class="plain bad" disabled=${busy !== null} onClick=${rollback}>${canary ? t("endTrial", { n: canary.version }) : t("rollbackTo", { n: previous })}</button></div>`}
    ${list.length === 0 && html`<${Nothing} data=${list}>${t("none")}<//>`}
    <ul class="entries">${list.map((each) => html`<li key=${each.version} class="card entry">
      <div class="head"><h2>${t("versionN", { n: each.version })}</h2><${Role} of=${each.version} live=${live} previous=${previous} canary=${canary} withdrawn=${withdrawn} /></div>
      <dl class="facts">
        ${each.release && html`<${Fact} name=${t("name")}>${each.release}<//>`}
        ${each.verified !== undefined && html`<${Fact} name=${t("verified")}>${t(each.verified ? "yes" : "no")}<//>`}
        ${each.published && html`<${Fact} name=${t("made")}>${when(each.published)}<//>`}
      </dl>
      ${each.version !== live && !withdrawn.includes(each.version) && html`<div class="row">
        <button class="plain" disabled=${busy !== null} onClick=${() => promote(each)}>${t("promote")}<span class="visually-hidden"> ${t("versionN", { n: each.version })}</span></button>
      </div>
      ${!canary && html`<${NewTrial} version=${each.version} busy=${busy !== null} begin=${(wish) => act("canary", () => change(`admin/releases/${each.version}/canary`, wish))} />`}`}
    </li>`)}</ul>
    <${Question} question=${question} close=${() => setQuestion(null)} />`;
}

function Role({ of, live, previous, canary, withdrawn }) {
  if (of === live) return html`<${Badge} state="good">${t("isLive")}<//>`;
  if (of === canary?.version) return html`<${Badge} state="accent">${t("onTrial")}<//>`;
  if (withdrawn.includes(of)) return html`<${Badge} state="bad">${t("withdrawn")}<//>`;
  return of === previous ? html`<${Badge} state="plain">${t("before")}<//>` : null;
}

function Trial({ canary, statistics, busy, act }) {
  return html`<section class="card trial"><div class="head"><h2>${t("trialOf", { n: canary.version })}</h2><${Badge} state="accent">${t(`mode_${canary.mode}`)}<//></div>
    <dl class="facts">
      <${Fact} name=${t("share")}>${share(canary.share)}<//>
      <${Fact} name=${t("since")}><${Ago} time=${canary.since} /><//>
      ${told(statistics).map(([name, value]) => html`<${Fact} key=${name} name=${name}>${value}<//>`)}
    </dl>
    <div class="row"><button class="plain" disabled=${busy} onClick=${() => act("report", () => save("admin/releases/canary/report", `canary-${canary.version}.html`))}>${t("saveReport")}</button></div>
  </section>`;
}

/** What is measured of a trial, under the service's own names. */
function told(statistics, before = "") {
  return Object.entries(statistics ?? {}).flatMap(([name, value]) => {
    const full = `${before}${name.replaceAll("_", " ")}`;
    if (typeof value === "number") return [[full, number(value, 3)]];
    if (typeof value === "string" || typeof value === "boolean") return [[full, String(value)]];
    return value && !Array.isArray(value) ? told(value, `${full}: `) : [];
  });
}

function NewTrial({ version, busy, begin }) {
  const send = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    begin({ mode: form.get("mode"), share: Number(form.get("share")) / 100 });
  };
  return html`<details><summary>${t("tryIt")}<span class="visually-hidden"> ${t("versionN", { n: version })}</span></summary>
    <form class="row" onSubmit=${send}>
      <label class="field-inline">${t("mode")} <select name="mode"><option value="share">${t("mode_share")}</option><option value="shadow">${t("mode_shadow")}</option></select></label>
      <label class="field-inline">${t("percentOfJobs")} <input name="share" type="number" min="1" max="100" value="10" required /></label>
      <button disabled=${busy}>${t("begin")}</button>
    </form></details>`;
}
