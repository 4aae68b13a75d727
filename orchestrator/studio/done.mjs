/** A picture that is done: compared with the photo, and what one can do with it. */
import { erase, setFavourite } from "./api.mjs";
import { Compare } from "./compare.mjs";
import { dropRoom } from "./kept.mjs";
import { here } from "./page.mjs";
import { Question } from "./parts.mjs";
import { Next, wishesOf } from "./next.mjs";
import { Download, Made, nameOf } from "./save.mjs";
import { Share } from "./share.mjs";
import { namesOf } from "./things.mjs";
import { html, useEffect, useRef, useState } from "./ui.mjs";
import { COLOURS } from "./wishes.mjs";
import { duration, listed, named, percent, styleTitle, t, until } from "./words.mjs";

/** Milliseconds. Links expire: new ones are asked for, but not again and again for a picture that is gone. */
const REFRESHED = 30000;
/** Letters of a wish from which on its own words, and not only the style's, may be more than the models read. */
const LONG = 200;

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

/**
 * What one can do with it. `update` takes what is new of the job, `erased` is called when it was. Of one of several, `set` is
 * `{job, erase}` once all are done: their parent, and what asks whether all shall be erased.
 */
export function Acts({ job, attempt, update, erased, set = null }) {
  const [question, setQuestion] = useState(null);
  const [sharing, setSharing] = useState(false);
  const [said, setSaid] = useState("");
  const { transformed_url: made, labelled_url: labelled } = job.result;
  useEffect(() => setSaid(""), [job.job_id]);
  const favour = () => attempt(async () => update(await setFavourite(job.job_id, !job.favourite)));
  const remove = () => attempt(async () => {
    // At once, even if the service cannot be reached.
    await Promise.all([job.job_id, job.parent].filter(Boolean).map(dropRoom));
    await erase(job.job_id);
    await erased();
  });
  const ask = () => setQuestion({
    title: t(job.parent ? "eraseOneTitle" : "eraseTitle"),
    text: t(job.parent ? "eraseOneText" : "eraseText"),
    yes: t("erase"),
    act: remove,
  });
  return html`
    <${Warnings} job=${job} />
    <div class="actions">
      <${Download} url=${made} name=${nameOf(job)} label=${t("download")} told=${setSaid} />
      <button type="button" class="plain" onClick=${() => setSharing(true)}>${t("share")}</button>
      <button type="button" class="plain" aria-pressed=${Boolean(job.favourite)} onClick=${favour}><span aria-hidden="true">${job.favourite ? "★" : "☆"}</span>${t("favourite")}</button>
    </div>
    <p class="note" role="status">${said}</p>
    ${keptFor(job) && html`<p class="hint">${keptFor(job)}</p>`}
    <div class="row also"><span>${t("also")}</span>
      ${labelled && html`<${Download} url=${labelled} name=${nameOf(job, "labelled")} label=${t("labelled")} told=${setSaid} kind="link" />`}
      <${Made} job=${job} which="before_after" label=${t("beforeAfter")} attempt=${attempt} told=${setSaid} />
      ${set && html`<${Made} job=${set.job} which="contact_sheet" label=${t("contactSheet")} attempt=${attempt} told=${setSaid} />`}
    </div>
    <${Next} job=${job} attempt=${attempt} />
    <${Facts} job=${job} />
    <div class="row erase">
      <button type="button" class="link" onClick=${ask}>${t(job.parent ? "eraseOne" : "eraseRoom")}</button>
      ${set && html`<button type="button" class="link" onClick=${set.erase}>${t("eraseSet")}</button>`}
    </div>
    <${Question} question=${question} close=${() => setQuestion(null)} />
    ${sharing && html`<${Share} result=${job.result} title=${t("ready", { style: styleTitle(job.style) })} close=${() => setSharing(false)} />`}`;
}

/** How long the service keeps it, where it says so. */
function keptFor(job) {
  if (job.favourite) return t("keptFavourite");
  return job.expires_at ? t("keptUntil", { time: until(job.expires_at) }) : "";
}

/** What was wished for and had no effect; what concerns programs alone has no words, nor has a style's that were left out. */
function Warnings({ job }) {
  const isLong = wishesOf(job)?.prompt.length > LONG;
  const codes = (job.result.metadata.warnings ?? []).map((each) => each.code).filter((code) => isLong || code !== "prompt_truncated");
  const known = codes.map((code) => named("warnings", code, "")).filter(Boolean);
  return [...new Set(known)].map((each) => html`<p key=${each} class="warning">${each}</p>`);
}

/** The style first, then what was wished for, as far as this device knows it, and what came of it. */
function Facts({ job }) {
  const { metadata } = job.result;
  const room = metadata.room_type;
  const wishes = wishesOf(job);
  const colours = wishes?.colours.length ? wishes.colours : metadata.palette;
  const share = metadata.selection?.share ?? metadata.kept;
  const left = [wishes && listed(namesOf("keep", wishes)), share != null && percent(share)].filter(Boolean);
  const facts = [
    [t("style"), styleTitle(job.style)],
    [t("yourWords"), wishes?.prompt.trim()],
    [t(!wishes ? "palette" : wishes.colours.length ? "colours" : "paletteChosen"), colours?.length && html`<span class="row">${colours.map((each) => html`<span key=${each} class="dot">
      <i style=${{ background: COLOURS[each] ?? each }} aria-hidden="true"></i>${named("colours", each)}</span>`)}</span>`],
    [t("changeTool"), wishes && listed(namesOf("change", wishes))],
    [t("kept"), left.join(": ")],
    [t("structure"), wishes && percent(wishes.structure)],
    [t("roomType"), room && room !== "unknown" && named("rooms", room)],
    [t("madeIn"), metadata.processing_time && duration(metadata.processing_time)],
    [t("number"), metadata.seed],
  ].filter(([, value]) => value || value === 0);
  return html`<details class="more"><summary>${t("howItWasMade")}</summary>
    <dl>${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
  </details>`;
}
