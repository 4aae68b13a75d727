/** Jobs as administrators see them. */
import { html } from "../ui.mjs";
import { named, styleTitle, t } from "../words.mjs";
import { share, short } from "./format.mjs";
import { Ago, Bar } from "./parts.mjs";

/** `jobs`: those that wait or run; `keyName`: the name of a key's id. */
export function Jobs({ jobs, keyName, title }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${title}><table class="jobs">
    <thead><tr><th scope="col">${t("job")}</th><th scope="col">${t("style")}</th><th scope="col">${t("key")}</th><th scope="col">${t("quality")}</th><th scope="col">${t("state")}</th><th scope="col">${t("submitted")}</th></tr></thead>
    <tbody>${jobs.map((job) => html`<tr key=${job.job_id}>
      <th scope="row"><code title=${job.job_id}>${short(job.job_id)}</code></th>
      <td>${styleTitle(job.style)}</td>
      <td>${keyName(job.key)}</td>
      <td>${qualityName(job.quality)}${job.priority === "high" && html` <span class="badge plain">${t("high")}</span>`}</td>
      <td><${State} job=${job} /></td>
      <td><${Ago} time=${job.submitted_at} /></td>
    </tr>`)}</tbody>
  </table></div>`;
}

export const qualityName = (name) => named("qualities", name ?? "default");

function State({ job }) {
  const name = named("states", job.status);
  if (job.progress === undefined) return name;
  return html`<span class="doing">${name} ${share(job.progress, 0)}<${Bar} value=${job.progress} most=${1} name=${t("progressOf", { job: short(job.job_id) })} /></span>`;
}
