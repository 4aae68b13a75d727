/** Who works, since when, and on what. */
import { Heading, TroubleBox } from "../parts.mjs";
import { html } from "../ui.mjs";
import { t } from "../words.mjs";
import { read } from "./api.mjs";
import { Jobs } from "./jobs.mjs";
import { useLive } from "./live.mjs";
import { Ago, Badge, Fact, Nothing, useKeyNames } from "./parts.mjs";

export function Workers() {
  const { data, trouble } = useLive(async (signal) => (await read("admin/floor", signal)).data.workers, 3);
  const keyName = useKeyNames();
  return html`<section class="view">
    <${Heading}>${t("workers")}<//>
    <p class="hint">${t("workersHint")}</p>
    <${TroubleBox} trouble=${trouble} />
    ${(data ?? []).length === 0 && !trouble && html`<${Nothing} data=${data}>${t("noWorkers")}<//>`}
    <ul class="entries">${(data ?? []).map((worker) => html`<${Worker} key=${worker.name} worker=${worker} keyName=${keyName} />`)}</ul>
  </section>`;
}

function Worker({ worker, keyName }) {
  const { host, process } = worker.name.match(/^(?<host>.*)-(?<process>\d+)-\w+$/)?.groups ?? { host: worker.name };
  const title = process ? t("workerName", { host, process }) : host;
  return html`<li class="card entry">
    <div class="head"><h2 title=${worker.name}>${title}</h2>
      ${worker.alive ? html`<${Badge} state=${worker.jobs.length ? "good" : "plain"}>${t(worker.jobs.length ? "works" : "idle")}<//>` : html`<${Badge} state="bad">${t("silent")}<//>`}</div>
    <dl class="facts">
      <${Fact} name=${t("since")}><${Ago} time=${worker.since} /><//>
      <${Fact} name=${t("heardOf")}><${Ago} time=${worker.heard_at} /><//>
      <${Fact} name=${t("runs")}>${t("nJobs", { n: worker.jobs.length })}<//>
    </dl>
    ${worker.jobs.length > 0 && html`<${Jobs} jobs=${worker.jobs} keyName=${keyName} title=${title} />`}
  </li>`;
}
