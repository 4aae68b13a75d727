/** Why jobs failed. */
import { Heading, TroubleBox } from "../parts.mjs";
import { html, useState } from "../ui.mjs";
import { problemWords, styleTitle, t } from "../words.mjs";
import { daysAgo, query, read } from "./api.mjs";
import { Chart } from "./charts.mjs";
import { number, short } from "./format.mjs";
import { useLive } from "./live.mjs";
import { Ago, Badge, Bar, Nothing, Period, useKeyNames } from "./parts.mjs";

export function Failures() {
  const [days, setDays] = useState(14);
  const keyName = useKeyNames();
  const { data, trouble } = useLive(async (signal) => (await read(`admin/failures${query({ since: daysAgo(days) })}`, signal)).data, 5, [days]);
  return html`<section class="view">
    <${Heading}>${t("failures")}<//>
    <div class="row filters"><${Period} days=${days} choose=${setDays} /></div>
    <${TroubleBox} trouble=${trouble} />
    ${data === null ? !trouble && html`<${Nothing} data=${null} />` : html`
      <div class="columns"><${Reasons} reasons=${data.reasons} /><${ByDay} days=${data.days} /></div>
      <${Latest} jobs=${data.latest} keyName=${keyName} />`}
  </section>`;
}

function Reasons({ reasons }) {
  const byCode = new Map();
  for (const { code, style, jobs } of reasons) {
    const found = byCode.get(code) ?? { code, jobs: 0, styles: [] };
    found.jobs += jobs;
    found.styles.push({ style, jobs });
    byCode.set(code, found);
  }
  const shown = [...byCode.values()].sort((a, b) => b.jobs - a.jobs);
  return html`<section class="card"><h2>${t("reasons")}</h2>
    ${shown.length === 0 ? html`<p class="nothing">${t("noFailures")}</p>` : html`<ul class="bars">${shown.map(({ code, jobs, styles }) => html`<li key=${code}>
      <span>${problemWords(code).title} <code>${code || t("unknown")}</code></span><strong>${number(jobs)}</strong>
      <${Bar} value=${jobs} most=${shown[0].jobs} name=${code} />
      <span class="soft">${styles.slice(0, 4).map((each) => `${styleTitle(each.style)} ${number(each.jobs)}`).join(" · ")}${styles.length > 4 ? " …" : ""}</span>
    </li>`)}</ul>`}
  </section>`;
}

function ByDay({ days }) {
  const told = days.map(({ day, reasons }) => ({ day, values: [reasons.reduce((sum, each) => sum + each.jobs, 0)] }));
  return html`<section class="card"><${Chart} title=${t("failuresByDay")} days=${told} series=${[{ name: t("failedOnes"), kind: "bad" }]} format=${(value) => number(value)} /></section>`;
}

function Latest({ jobs, keyName }) {
  return html`<h2>${t("latestFailures")}</h2>
    ${jobs.length === 0 && html`<p class="nothing">${t("none")}</p>`}
    <ul class="entries tight">${jobs.slice(0, 50).map((job) => html`<li key=${job.job_id} class="card entry">
      <p class="detail" lang="en">${job.detail}</p>
      <p class="soft"><${Badge} state="plain">${job.code}<//> <code title=${job.job_id}>${short(job.job_id)}</code> · ${styleTitle(job.style)} · ${keyName(job.key)} · ${t("nAttempts", { n: number(job.attempts) })} · <${Ago} time=${job.failed_at} /></p>
    </li>`)}</ul>`;
}
