/** A picture that is done: compared with the photo, and what one can do with it. */
import { erase, setFavourite } from "./api.mjs";
import { Compare } from "./compare.mjs";
import { dropRoom } from "./kept.mjs";
import { here } from "./page.mjs";
import { Question } from "./parts.mjs";
import { Again, Otherwise } from "./next.mjs";
import { Download, Made, nameOf } from "./save.mjs";
import { Share } from "./share.mjs";
import { html, useRef, useState } from "./ui.mjs";
import { duration, listed, named, percent, styleTitle, t } from "./words.mjs";

/** Milliseconds. Links expire: new ones are asked for, but not again and again for a picture that is gone. */
const REFRESHED = 30000;

/** Before and after. `refresh` asks for the job again. The slider stays where it is when another job is shown. */
export function Result({ job, attempt, refresh }) {
  const refreshed = useRef({});
  const { metadata, transformed_url: made, original_url: photo } = job.result;
  const broken = () => {
    if (Date.now() - (refreshed.current[job.job_id] ?? 0) < REFRESHED) return;
    refreshed.current[job.job_id] = Date.now();
    attempt(refresh);
  };
  return html`<${Compare} before=${here(photo)} after=${here(made)} width=${metadata.width} height=${metadata.height} onBroken=${broken} />`;
}

/** What one can do with it. `update` takes what is new of the job, `erased` is called when it was. */
export function Acts({ job, attempt, update, erased }) {
  const [question, setQuestion] = useState(null);
  const [sharing, setSharing] = useState(false);
  const { metadata, transformed_url: made, labelled_url: labelled } = job.result;
  const favour = () => attempt(async () => update(await setFavourite(job.job_id, !job.favourite)));
  const remove = () => attempt(async () => {
    // At once, even if the service cannot be reached.
    await Promise.all([job.job_id, job.parent].filter(Boolean).map(dropRoom));
    await erase(job.job_id);
    await erased();
  });
  const ask = () => setQuestion({ title: t("eraseTitle"), text: t(job.parent ? "eraseOneText" : "eraseText"), yes: t("erase"), act: remove });
  return html`
    <div class="row actions">
      <${Download} url=${made} name=${nameOf(job)} label=${t("download")} />
      <button type="button" class="plain" onClick=${() => setSharing(true)}>${t("share")}</button>
      <button type="button" class="plain" aria-pressed=${Boolean(job.favourite)} onClick=${favour}><span aria-hidden="true">${job.favourite ? "★" : "☆"}</span>${t("favourite")}</button>
      <${Again} job=${job} attempt=${attempt} />
      <${Otherwise} job=${job} attempt=${attempt} />
      <button type="button" class="plain" onClick=${ask}>${t("erase")}</button>
    </div>
    <div class="row also"><span>${t("also")}</span>
      ${labelled && html`<${Download} url=${labelled} name=${nameOf(job, "labelled")} label=${t("labelled")} kind="link" />`}
      <${Made} job=${job} which="before_after" label=${t("beforeAfter")} attempt=${attempt} />
    </div>
    <${Facts} metadata=${metadata} />
    <${Question} question=${question} close=${() => setQuestion(null)} />
    ${sharing && html`<${Share} result=${job.result} title=${t("ready", { style: styleTitle(job.style) })} close=${() => setSharing(false)} />`}`;
}

function Facts({ metadata }) {
  const { selection } = metadata;
  const facts = [
    [t("seed"), metadata.seed],
    [t("madeIn"), metadata.processing_time && duration(metadata.processing_time)],
    [t("roomType"), metadata.room_type && named("rooms", metadata.room_type)],
    [t("quality"), metadata.quality_score != null && percent(metadata.quality_score)],
    [t("palette"), metadata.palette?.length && listed(metadata.palette.map((each) => named("colours", each)))],
    [t("kept"), selection ? percent(selection.share) : metadata.kept != null && percent(metadata.kept)],
  ].filter(([, value]) => value || value === 0);
  return html`<details class="more"><summary>${t("howItWasMade")}</summary>
    <dl>${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    ${metadata.warnings?.map((each) => html`<p key=${each.code} class="hint" lang="en">${each.detail}</p>`)}
  </details>`;
}
