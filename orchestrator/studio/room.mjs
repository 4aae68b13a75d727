/** The view of one job: how it becomes, and what it is. */
import { Trouble, cancel, erase, randomSeed, setFavourite, status } from "./api.mjs";
import { Compare } from "./compare.mjs";
import { draft, photos, restyle } from "./draft.mjs";
import { dropRoom, keptRoom } from "./kept.mjs";
import { asked, forget, keep } from "./memory.mjs";
import { here } from "./page.mjs";
import { Heading, Question, TroubleBox } from "./parts.mjs";
import { prepare } from "./photo.mjs";
import { html, useEffect, useRef, useState } from "./ui.mjs";
import { duration, named, percent, problemWords, styleTitle, t } from "./words.mjs";
import { watch } from "./watch.mjs";

const ASK_EVERY = 3000;
const PREVIEW_BLUR = 14;

export function Room({ id }) {
  const [job, setJob] = useState(null);
  const [preview, setPreview] = useState(null);
  const [linked, setLinked] = useState(true);
  const [trouble, setTrouble] = useState(null);
  const [gone, setGone] = useState(false);
  const going = job !== null && !ENDS.has(job.status);

  useEffect(
    () =>
      watch(
        id,
        (message) => {
          if (message.type === "preview") setPreview(message);
          setJob((now) => after(now, message));
        },
        setLinked,
        (error) => {
          if (error.code === "job_not_found") forget(id);
          setTrouble(error);
          setGone(true);
        },
      ),
    [id],
  );

  // Without a network, what this device kept of it is shown until the service answers.
  useEffect(() => {
    if (linked || job !== null) return;
    keptRoom(id, true).then((found) => found && setJob((now) => now ?? found));
  }, [id, linked]);
  useEffect(() => {
    if (job !== null) keep(job, true);
  }, [job?.status, job?.favourite]);

  // Places in the queue and the time that is left are in no event.
  useEffect(() => {
    if (!going) return undefined;
    const timer = setInterval(async () => {
      const now = await status(id).catch(() => null);
      if (now && !ENDS.has(now.status)) setJob((known) => (known && !ENDS.has(known.status) ? { ...known, ...estimates(now) } : known));
    }, ASK_EVERY);
    return () => clearInterval(timer);
  }, [id, going]);

  const refresh = async () => setJob(await status(id));
  const attempt = async (act) => {
    setTrouble(null);
    try {
      await act();
    } catch (error) {
      setTrouble(error instanceof Trouble ? error : new Trouble("internal_error"));
    }
  };

  if (gone) return html`<${Empty} trouble=${trouble} />`;
  if (job === null) return html`<section class="room"><${Heading}>${t("opening")}<//><p class="hint" role="status">${linked ? "" : t("reconnecting")}</p></section>`;
  const parts = { id, job, attempt, setJob };
  return html`<section class="room">
    ${going && html`<${Becoming} ...${parts} preview=${preview} linked=${linked} />`}
    ${job.status === "completed" && html`<${Done} key="done" ...${parts} refresh=${refresh} />`}
    ${job.status === "failed" && html`<${Failed} key="failed" ...${parts} />`}
    ${job.status === "cancelled" && html`<${Cancelled} key="cancelled" ...${parts} />`}
    <${TroubleBox} trouble=${trouble} />
  </section>`;
}

const ENDS = new Set(["completed", "failed", "cancelled"]);
const estimates = ({ queue_position, estimated_time_remaining, status: state }) => ({ queue_position, estimated_time_remaining, status: state });

/** The job after a message of the service's. */
function after(job, message) {
  switch (message.type) {
    case "snapshot":
    case "completed":
      return { ...job, ...message.data };
    case "status":
      return job && { ...job, status: message.status, progress: message.progress, queue_position: null };
    case "analysis":
    case "step":
    case "preview":
      // An event from before the snapshot must not turn the bar back.
      return job && { ...job, progress: Math.max(job.progress, message.progress) };
    case "failed":
      return job && { ...job, status: "failed", error: message.error };
    case "cancelled":
      return job && { ...job, status: "cancelled" };
    default:
      return job;
  }
}

function Becoming({ id, job, attempt, preview, linked }) {
  const [stopping, setStopping] = useState(false);
  const photo = photos.get(id);
  const waits = job.queue_position !== null && job.queue_position !== undefined;
  const stage = waits ? (job.queue_position ? t("before_you", { n: job.queue_position }) : t("next")) : named("states", job.status, t("working"));
  const left = job.estimated_time_remaining;
  const sharp = { filter: `blur(${Math.round(PREVIEW_BLUR * (1 - job.progress) ** 1.5)}px)` };
  const stop = () => {
    setStopping(true);
    attempt(() => cancel(id)).finally(() => setStopping(false));
  };
  return html`<${Heading}>${t("becoming", { style: styleTitle(job.style) })}<//>
    <div class="frame" style=${photo ? { "aspect-ratio": `${photo.width} / ${photo.height}` } : {}}>
      ${photo && html`<img src=${photo.url} alt=${t("yourPhoto")} />`}
      ${preview && html`<img class="preview" src="data:image/jpeg;base64,${preview.jpeg}" alt=${t("preview")} style=${sharp} onError=${(event) => (event.target.hidden = true)} onLoad=${(event) => (event.target.hidden = false)} />`}
    </div>
    <div class="progress">
      <label for="progress" class="ends"><span>${stage}</span><span>${left ? t("timeLeft", { time: duration(left) }) : ""}</span></label>
      <progress id="progress" max="1" value=${job.progress}>${percent(job.progress)}</progress>
    </div>
    <p class=${linked ? "visually-hidden" : "hint"} role="status">${linked ? stage : t("reconnecting")}</p>
    <div class="row"><button class="plain" disabled=${stopping} onClick=${stop}>${t("cancel")}</button></div>`;
}

function Done({ id, job, attempt, setJob, refresh }) {
  const [question, setQuestion] = useState(null);
  const refreshed = useRef(0);
  const { metadata, transformed_url, original_url } = job.result;
  // Links expire: new ones are asked for, but not again and again for a picture that is gone.
  const broken = () => {
    if (Date.now() - refreshed.current < 30000) return;
    refreshed.current = Date.now();
    attempt(refresh);
  };
  const favour = () => attempt(async () => setJob(await setFavourite(id, !job.favourite)));
  const ask = () =>
    setQuestion({
      title: t("eraseTitle"), text: t("eraseText"), yes: t("erase"),
      act: () => attempt(async () => {
        await dropRoom(id); // at once, even if the service cannot be reached
        await erase(id);
        await forget(id);
        photos.delete(id);
        location.hash = "#/rooms";
      }),
    });
  const name = `reroom-${job.style}-${id.slice(0, 6)}.jpg`;
  return html`<${Heading}>${t("ready", { style: styleTitle(job.style) })}<//>
    <p class="visually-hidden" role="status">${t("readySaid")}</p>
    <${Compare} before=${here(original_url)} after=${here(transformed_url)} width=${metadata.width} height=${metadata.height} onBroken=${broken} />
    <div class="row actions">
      <a class="button" href=${here(transformed_url)} download=${name} target="_blank" rel="noopener">${t("download")}</a>
      <${Again} id=${id} job=${job} attempt=${attempt} />
      <button class="plain" aria-pressed=${job.favourite} onClick=${favour}>${job.favourite ? "★" : "☆"} ${t("favourite")}</button>
      <button class="plain" onClick=${ask}>${t("erase")}</button>
    </div>
    <${Facts} metadata=${metadata} />
    <${Question} question=${question} close=${() => setQuestion(null)} />`;
}

function Facts({ metadata }) {
  const facts = [
    [t("seed"), metadata.seed],
    [t("madeIn"), metadata.processing_time && duration(metadata.processing_time)],
    [t("roomType"), metadata.room_type && named("rooms", metadata.room_type)],
    [t("quality"), metadata.quality_score != null && percent(metadata.quality_score)],
    [t("palette"), metadata.palette?.length && metadata.palette.map((each) => named("colours", each)).join(", ")],
  ].filter(([, value]) => value || value === 0);
  return html`<details class="more"><summary>${t("howItWasMade")}</summary>
    <dl>${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    ${metadata.warnings?.map((each) => html`<p key=${each.code} class="hint" lang="en">${each.detail}</p>`)}
  </details>`;
}

/** Restyles the same photo with another seed. */
function Again({ id, job, attempt, label = t("anotherSeed") }) {
  const [busy, setBusy] = useState(false);
  const again = async () => {
    setBusy(true);
    await attempt(async () => {
      const before = asked(id);
      const wanted = { ...(before?.preferences ?? { preview_every: 1 }), seed: randomSeed() };
      await restyle(photos.get(id) ?? (await fetched(job)), before?.style ?? job.style, wanted);
    });
    setBusy(false);
  };
  return html`<button class="plain" disabled=${busy} onClick=${again}>${busy ? t("sending") : label}</button>`;
}

/** The job's photo from the service, for who comes back later. Raises Trouble. */
async function fetched(job) {
  const answer = job.result && (await fetch(here(job.result.original_url)).catch(() => null));
  if (!answer?.ok) throw new Trouble("photo_not_here");
  const photo = await prepare(await answer.blob());
  return { ...photo, url: URL.createObjectURL(photo.blob) };
}

function Failed({ id, job, attempt }) {
  const { title, advice } = problemWords(job.error.code);
  return html`<${Heading}>${t("failed")}<//>
    <div class="trouble" role="alert"><strong>${title}</strong><p>${advice}</p>
      <details><summary>${t("whatTheServiceSaid")}</summary><p lang="en">${job.error.detail}</p></details></div>
    <${Next} id=${id} job=${job} attempt=${attempt} />`;
}

const Cancelled = ({ id, job, attempt }) => html`<${Heading}>${t("cancelledTitle")}<//>
  <p class="lead" role="status">${t("cancelledText")}</p><${Next} id=${id} job=${job} attempt=${attempt} />`;

function Next({ id, job, attempt }) {
  const remove = () => attempt(async () => {
    await erase(id);
    await forget(id);
    location.hash = "#/";
  });
  return html`<div class="row">
    ${photos.has(id) && html`<${Again} id=${id} job=${job} attempt=${attempt} label=${t("tryAgain")} />`}
    <a class="button ${photos.has(id) ? "plain" : ""}" href="#/">${draft.photo ? t("changeWishes") : t("newRoom")}</a>
    <button class="plain" onClick=${remove}>${t("erase")}</button>
  </div>`;
}

const Empty = ({ trouble }) => html`<section class="room"><${Heading}>${t("notHere")}<//><${TroubleBox} trouble=${trouble} />
  <div class="row"><a class="button" href="#/">${t("newRoom")}</a></div></section>`;
