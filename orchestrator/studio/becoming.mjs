/** A job that is being worked on. */
import { cancel } from "./api.mjs";
import { html, useState } from "./ui.mjs";
import { duration, named, percent, t } from "./words.mjs";

const PREVIEW_BLUR = 14;

/** The picture so far over the photo, the sharper the further it is. */
export function Frame({ photo, preview, progress }) {
  const sharp = { filter: `blur(${Math.round(PREVIEW_BLUR * (1 - progress) ** 1.5)}px)` };
  return html`<div class="frame" style=${photo?.url ? { "--shape": photo.width / photo.height } : {}}>
    ${photo?.url && html`<img src=${photo.url} alt=${t("yourPhoto")} />`}
    ${preview && html`<img class="preview" src="data:image/jpeg;base64,${preview}" alt=${t("preview")} style=${sharp} onError=${(event) => (event.target.hidden = true)} onLoad=${(event) => (event.target.hidden = false)} />`}
  </div>`;
}

/** How far it is, its place in the queue, the time that is left, and the way to end it. `said`: in place of the stage. */
export function Meter({ job, linked, attempt, said }) {
  const [stopping, setStopping] = useState(false);
  const stage = said ?? stageOf(job);
  const left = job.estimated_time_remaining;
  const stop = () => {
    setStopping(true);
    attempt(() => cancel(job.job_id)).finally(() => setStopping(false));
  };
  return html`<div class="progress">
      <label for="progress" class="ends"><span>${stage}</span><span>${left ? t("timeLeft", { time: duration(left) }) : ""}</span></label>
      <progress id="progress" max="1" value=${job.progress}>${percent(job.progress)}</progress>
    </div>
    <p class=${linked ? "visually-hidden" : "hint"} role="status">${linked ? stage : t("reconnecting")}</p>
    <div class="row"><button class="plain" disabled=${stopping} onClick=${stop}>${t("cancel")}</button></div>`;
}

export function stageOf(job) {
  const waits = job.queue_position !== null && job.queue_position !== undefined;
  if (waits) return job.queue_position ? t("before_you", { n: job.queue_position }) : t("next");
  return named("states", job.status, t("working"));
}
