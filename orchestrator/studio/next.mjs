/** What one can do once more: the same with another seed, or other wishes for the same photo. */
import { Trouble, erase, randomSeed } from "./api.mjs";
import { bringBack, letGo, restyle, sent, wishesFor } from "./draft.mjs";
import { keptFile } from "./kept.mjs";
import { asked, forget } from "./memory.mjs";
import { leaveNote } from "./note.mjs";
import { here } from "./page.mjs";
import { Heading } from "./parts.mjs";
import { prepared } from "./photo.mjs";
import { html, useState } from "./ui.mjs";
import { problemWords, t } from "./words.mjs";

/** The job that was submitted: a child was with its parent. */
const submitted = (job) => job.parent ?? job.job_id;

/** How the job was asked for, or null. */
export const wishesOf = (job) => sent.get(submitted(job))?.wishes ?? asked(submitted(job));

/** What was sent for the job: `{photo, reference}`, the reference null if it is not here any more. Raises Trouble. */
async function filesOf(job) {
  const { photo, reference } = sent.get(submitted(job)) ?? {};
  if (photo) return { photo, reference };
  return { photo: await prepared(await photoOf(job)), reference: await prepared(await keptFile(`rooms/${submitted(job)}/reference`)) };
}

/** The job's photo, for who comes back later: from the service, or as this device kept it. Raises Trouble. */
async function photoOf(job) {
  const answer = job.result && (await fetch(here(job.result.original_url)).catch(() => null));
  if (answer?.ok) return answer.blob();
  for (const id of [job.job_id, job.parent]) {
    const blob = await keptFile(`rooms/${id}/before`);
    if (blob) return blob;
  }
  throw new Trouble("photo_not_here");
}

/** Restyles the same photo with another seed: all that was asked for or, of a child, a picture like it. */
export function Again({ job, attempt, label = t("anotherSeed"), plain = true }) {
  const [busy, setBusy] = useState(false);
  const again = async () => {
    setBusy(true);
    await attempt(async () => {
      const wishes = wishesOf(job) ?? wishesFor(job.style);
      const files = await filesOf(job);
      if (wishes.reference && !files.reference) throw new Trouble("reference_not_here");
      if (wishes.paint) throw new Trouble("paint_not_here");
      await restyle(files, job.children ? wishes : { ...wishes, styles: [job.style], several: false, variations: 1 }, randomSeed());
    });
    setBusy(false);
  };
  return html`<button type="button" class=${plain ? "plain" : ""} disabled=${busy} onClick=${again}>${busy ? t("sending") : label}</button>`;
}

/** Goes to the first view, where this job's photo is and all that was wished for it, to be changed. */
export function Otherwise({ job, attempt }) {
  const go = () =>
    attempt(async () => {
      const wishes = wishesOf(job);
      const files = await filesOf(job);
      const lost = [
        !wishes && "lostWishes",
        wishes?.reference && !files.reference && "lostReference",
        wishes?.paint && "lostPaint",
      ].filter(Boolean);
      bringBack(files, wishes ?? wishesFor(job.style), lost);
      location.hash = "#/";
    });
  return html`<button type="button" class="plain" onClick=${go}>${t("changeWishes")}</button>`;
}

/** Both, with what they do. */
export const Next = ({ job, attempt }) => html`<section class="next" aria-label=${t("whatNext")}>
  <h2>${t("whatNext")}</h2>
  <div><${Otherwise} job=${job} attempt=${attempt} /><p class="hint">${t("changeWishesHint")}</p></div>
  <div><${Again} job=${job} attempt=${attempt} /><p class="hint">${t("anotherSeedHint")}</p></div>
</section>`;

export function Failed({ job, attempt }) {
  return html`<${Heading}>${t("failed")}<//><${Why} error=${job.error} /><${WithoutPicture} job=${job} attempt=${attempt} />`;
}

/** Why a job failed, and what to do. */
export function Why({ error }) {
  const { title, advice } = problemWords(error?.code);
  return html`<div class="trouble" role="alert"><strong>${title}</strong><p>${advice}</p>
    ${error?.detail && html`<details><summary>${t("whatTheServiceSaid")}</summary><p lang="en">${error.detail}</p></details>`}</div>`;
}

export const Cancelled = ({ job, attempt }) => html`<${Heading}>${t("cancelledTitle")}<//>
  <p class="lead" role="status">${t("cancelledText")}</p><${WithoutPicture} job=${job} attempt=${attempt} />`;

function WithoutPicture({ job, attempt }) {
  const has = sent.has(submitted(job));
  const remove = () => attempt(async () => {
    await erase(job.job_id);
    await forget(job.job_id);
    letGo(job.job_id);
    leaveNote("erased");
    location.hash = "#/rooms";
  });
  return html`<div class="row">
    ${has && html`<${Again} job=${job} attempt=${attempt} label=${t("tryAgain")} plain=${false} />`}
    ${has ? html`<${Otherwise} job=${job} attempt=${attempt} />` : html`<a class="button" href="#/">${t("newRoom")}</a>`}
    <button type="button" class="link" onClick=${remove}>${t("erase")}</button>
  </div>`;
}
