/** What one can do once more: the same with another seed, or other wishes for the same photo. */
import { Trouble, erase, randomSeed } from "./api.mjs";
import { PREVIEW_EVERY, draft, restyle, sent, setPhoto, withAddress } from "./draft.mjs";
import { asked, forget } from "./memory.mjs";
import { here } from "./page.mjs";
import { Heading } from "./parts.mjs";
import { prepare } from "./photo.mjs";
import { html, useState } from "./ui.mjs";
import { problemWords, t } from "./words.mjs";

/** The job that was submitted: a child was with its parent. */
const submitted = (job) => job.parent ?? job.job_id;

/** What is sent for the job again. Raises Trouble. */
async function filesOf(job) {
  const files = sent.get(submitted(job));
  if (files) return files;
  if (asked(submitted(job))?.more) throw new Trouble("paint_not_here");
  return { photo: await fetched(job), mask: null, reference: null };
}

/** The job's photo from the service, for who comes back later. Raises Trouble. */
async function fetched(job) {
  const answer = job.result && (await fetch(here(job.result.original_url)).catch(() => null));
  if (!answer?.ok) throw new Trouble("photo_not_here");
  return withAddress(await prepare(await answer.blob()));
}

/** Restyles the same photo with another seed: all that was asked for or, of a child, a picture like it. */
export function Again({ job, attempt, label = t("anotherSeed"), plain = true }) {
  const [busy, setBusy] = useState(false);
  const again = async () => {
    setBusy(true);
    await attempt(async () => {
      const before = asked(submitted(job));
      const whole = job.children && before ? before : { styles: [job.style], variations: 1 };
      const wanted = { ...(before?.preferences ?? { preview_every: PREVIEW_EVERY }), seed: randomSeed() };
      await restyle(await filesOf(job), { styles: whole.styles, variations: whole.variations, preferences: wanted });
    });
    setBusy(false);
  };
  return html`<button type="button" class=${plain ? "plain" : ""} disabled=${busy} onClick=${again}>${busy ? t("sending") : label}</button>`;
}

/** Goes to the first view, with this job's photo there. */
export function Otherwise({ job, attempt }) {
  const go = () =>
    attempt(async () => {
      const known = sent.get(submitted(job))?.photo;
      // What was marked on it stays too, unless another photo came between.
      if (!known || draft.photo?.blob !== known.blob) setPhoto(known ?? (await fetched(job)));
      location.hash = "#/";
    });
  return html`<button type="button" class="plain" onClick=${go}>${t("changeWishes")}</button>`;
}

export function Failed({ job, attempt }) {
  return html`<${Heading}>${t("failed")}<//><${Why} error=${job.error} /><${Next} job=${job} attempt=${attempt} />`;
}

/** Why a job failed, and what to do. */
export function Why({ error }) {
  const { title, advice } = problemWords(error?.code);
  return html`<div class="trouble" role="alert"><strong>${title}</strong><p>${advice}</p>
    ${error?.detail && html`<details><summary>${t("whatTheServiceSaid")}</summary><p lang="en">${error.detail}</p></details>`}</div>`;
}

export const Cancelled = ({ job, attempt }) => html`<${Heading}>${t("cancelledTitle")}<//>
  <p class="lead" role="status">${t("cancelledText")}</p><${Next} job=${job} attempt=${attempt} />`;

function Next({ job, attempt }) {
  const has = sent.has(submitted(job));
  const remove = () => attempt(async () => {
    await erase(job.job_id);
    await forget(job.job_id);
    location.hash = "#/";
  });
  return html`<div class="row">
    ${has && html`<${Again} job=${job} attempt=${attempt} label=${t("tryAgain")} plain=${false} />`}
    ${has ? html`<${Otherwise} job=${job} attempt=${attempt} />` : html`<a class="button" href="#/">${t("newRoom")}</a>`}
    <button class="plain" onClick=${remove}>${t("erase")}</button>
  </div>`;
}
