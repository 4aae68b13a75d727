/** Which versions of the models there are, which makes pictures, and which one is on trial. */
import { Heading, Question, TroubleBox } from "../parts.mjs";
import { html, useState } from "../ui.mjs";
import { t } from "../words.mjs";
import { change, read, save } from "./api.mjs";
import { number, share } from "./format.mjs";
import { useLive } from "./live.mjs";
import { Ago, Badge, Fact, Nothing, useDoing } from "./parts.mjs";

const NETWORK = "denoiser";

/** What `GET /admin/releases` says, or `{serving}`: the versions that Tritons serve, of a service that knows of no releases. */
async function load(signal) {
  const { data: releases } = await read("admin/releases", signal);
  if (releases) return releases;
  const { data } = await read("admin/tritons", signal);
  return { serving: data.filter((each) => each.up).map((each) => ({ name: each.name, version: each.models[NETWORK] })) };
}

export function Releases() {
  const { data, trouble, again } = useLive(load, 5);
  return html`<section class="view">
    <${Heading}>${t("releases")}<//>
    <${TroubleBox} trouble=${trouble} />
    ${data === null ? !trouble && html`<${Nothing} data=${null} />` : data.serving ? html`<${Without} serving=${data.serving} />` : html`<${Rollout} rollout=${data} again=${again} />`}
  </section>`;
}

function Without({ serving }) {
  return html`<p class="lead">${t("noReleases")}</p><p class="hint">${t("noReleasesHint")}</p>
    <ul class="entries">${serving.map(({ name, version }) => html`<li key=${name} class="card entry"><div class="head"><h2>${name}</h2>
      <${Badge} state="plain">${version === undefined ? t("unknown") : version < 0 ? t("latest") : t("versionN", { n: version })}<//></div></li>`)}</ul>`;
}

function Rollout({ rollout, again }) {
  const [question, setQuestion] = useState(null);
  const [busy, problem, run] = useDoing();
  const act = (name, doing) => run(name, async () => {
    try {
      await doing();
    } finally {
      again();
    }
  });
  const { live, previous, canary, trial, versions, withdrawn, hosts = [] } = rollout;
  const promote = ({ version }) => setQuestion({ title: t("promoteTitle", { n: version }), text: t("promoteText"), yes: t("promote"), act: () => act("promote", () => change(`admin/releases/${version}/promote`, {})) });
  const rollback = () => setQuestion({ title: canary ? t("endTrialTitle", { n: canary.version }) : t("rollbackTitle", { n: previous }), text: t("rollbackText"), yes: t("rollback"), act: () => act("rollback", () => change("admin/releases/rollback", {})) });
  const list = [...versions].sort((a, b) => b.version - a.version);
  return html`
    <${TroubleBox} trouble=${problem} />
    <p class="soft">${rollout.changed && html`${t("changed")} <${Ago} time=${rollout.changed} /> · ${rollout.by || t("unknown")}`}</p>
    ${trial && html`<${Trial} trial=${trial} busy=${busy !== null} act=${act} />`}
    ${(canary || previous) && html`<div class="row"><button class="plain bad" disabled=${busy !== null} onClick=${rollback}>${canary ? t("endTrial", { n: canary.version }) : t("rollbackTo", { n: previous })}</button></div>`}
    ${list.length === 0 && html`<${Nothing} data=${list}>${t("none")}<//>`}
    <ul class="entries">${list.map((each) => html`<li key=${each.version} class="card entry">
      <div class="head"><h2>${t("versionN", { n: each.version })}</h2><${Role} of=${each.version} live=${live} previous=${previous} canary=${canary} withdrawn=${withdrawn} /></div>
      <dl class="facts">
        ${each.release && html`<${Fact} name=${t("name")}>${each.release}<//>`}
        <${Fact} name=${t("verified")}>${t(each.verified ? "yes" : "no")}<//>
        <${Fact} name=${t("madeFor")}>${each.targets?.length ? each.targets.join(", ") : t("anyHardware")}<//>
        <${Fact} name=${t("pinned")}>${t(each.in_use ? "yes" : "no")}<//>
      </dl>
      ${each.version !== live && !withdrawn.includes(each.version) && each.verified && html`<div class="row">
        <button class="plain" disabled=${busy !== null} onClick=${() => promote(each)}>${t("promote")}<span class="visually-hidden"> ${t("versionN", { n: each.version })}</span></button>
      </div>
      ${!canary && live && html`<${NewTrial} version=${each.version} busy=${busy !== null} begin=${(wish) => act("canary", () => change(`admin/releases/${each.version}/canary`, wish))} />`}`}
    </li>`)}</ul>
    ${hosts.length > 0 && html`<h2>${t("hosts")}</h2><ul class="entries">${hosts.map((each) => html`<${Host} key=${each.name} host=${each} />`)}</ul>`}
    <${Question} question=${question} close=${() => setQuestion(null)} />`;
}

function Role({ of, live, previous, canary, withdrawn }) {
  if (of === live) return html`<${Badge} state="good">${t("isLive")}<//>`;
  if (of === canary?.version) return html`<${Badge} state="accent">${t("onTrial")}<//>`;
  if (withdrawn.includes(of)) return html`<${Badge} state="bad">${t("withdrawn")}<//>`;
  return of === previous ? html`<${Badge} state="plain">${t("before")}<//>` : null;
}

function Host({ host }) {
  const { live, ready = [], loading, problems = {} } = host;
  return html`<li class="card entry"><div class="head"><h2>${host.name}</h2>${loading && html`<${Badge} state="accent">${t("loads", { n: loading })}<//>`}</div>
    ${Object.entries(problems).map(([version, detail]) => html`<p key=${version} class="detail" lang="en">${t("versionN", { n: version })}: ${detail}</p>`)}
    <dl class="facts">
      <${Fact} name=${t("isLive")}>${live || "–"}<//>
      <${Fact} name=${t("readyVersions")}>${ready.join(", ") || "–"}<//>
    </dl></li>`;
}

const DECISIONS = { running: "accent", promote: "good", roll_back: "bad", undecided: "plain" };

function Trial({ trial, busy, act }) {
  const { version, decision, findings = [], failures = {}, made = {} } = trial;
  return html`<section class="card trial entry"><div class="head"><h2>${t("trialOf", { n: version })}</h2><${Badge} state=${DECISIONS[decision] ?? "plain"}>${t(`decision_${decision}`)}<//></div>
    ${trial.reason && html`<p class="detail" lang="en">${trial.reason}</p>`}
    <dl class="facts">
      <${Fact} wide name=${t("mode")}>${t(`mode_${trial.mode}`)}<//>
      <${Fact} name=${t("share")}>${share(trial.share)}<//>
      <${Fact} name=${t("since")}><${Ago} time=${trial.since} /><//>
      <${Fact} name=${t("comparedWith")}>${t("versionN", { n: trial.live })}<//>
      <${Fact} name=${t("pairs")}>${number(trial.pairs ?? 0)}<//>
      <${Fact} name=${t("picturesMade")}>${number(made.canary ?? 0)} / ${number(made.live ?? 0)}<//>
      <${Fact} name=${t("itsFailures")}>${Object.entries(failures).map(([code, n]) => `${code} ${number(n)}`).join(", ") || t("none")}<//>
    </dl>
    ${findings.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${t("findings")}><table>
      <thead><tr><th scope="col">${t("finding")}</th><th scope="col" class="number">n</th><th scope="col" class="number">${t("value")}</th><th scope="col" class="number">${t("between")}</th><th scope="col" class="number">${t("margin")}</th><th scope="col">${t("verdict")}</th></tr></thead>
      <tbody>${findings.map((each) => html`<tr key=${each.name}>
        <th scope="row" lang="en">${each.title ?? each.name}</th><td class="number">${number(each.n)}</td><td class="number">${number(each.value, 4)}</td>
        <td class="number">${each.low === null ? "–" : number(each.low, 4)} … ${each.high === null ? "–" : number(each.high, 4)}</td><td class="number">${number(each.margin, 4)}</td>
        <td><${Badge} state=${VERDICTS[each.verdict] ?? "plain"}>${t(`verdict_${each.verdict}`)}<//>${each.required && html` <span class="soft">${t("required")}</span>`}</td>
      </tr>`)}</tbody></table></div>`}
    <div class="row"><button class="plain" disabled=${busy} onClick=${() => act("report", () => save("admin/releases/canary/report", `canary-${version}.html`))}>${t("saveReport")}</button></div>
  </section>`;
}

const VERDICTS = { worse: "bad", not_worse: "good", open: "plain" };

function NewTrial({ version, busy, begin }) {
  const send = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    begin({ mode: form.get("mode"), share: Number(form.get("share")) / 100 });
  };
  return html`<details><summary>${t("tryIt")}<span class="visually-hidden"> ${t("versionN", { n: version })}</span></summary>
    <form class="row" onSubmit=${send}>
      <label class="field-inline">${t("mode")} <select name="mode"><option value="shadow">${t("mode_shadow")}</option><option value="share">${t("mode_share")}</option></select></label>
      <label class="field-inline">${t("percentOfJobs")} <input name="share" type="number" min="1" max="100" value="10" required /></label>
      <button disabled=${busy}>${t("begin")}</button>
    </form></details>`;
}
