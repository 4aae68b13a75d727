/** The view of one job, or of several that were submitted together: how they become, and what they are. */
import { Trouble, status } from "./api.mjs";
import { Frame, Meter } from "./becoming.mjs";
import { Acts, Result } from "./done.mjs";
import { letGo, sent } from "./draft.mjs";
import { Film, isDone } from "./film.mjs";
import { keptRoom } from "./kept.mjs";
import { forget, keep } from "./memory.mjs";
import { Cancelled, Failed } from "./next.mjs";
import { leaveNote } from "./note.mjs";
import { Heading, TroubleBox } from "./parts.mjs";
import { ENDS, after, estimates, goes, joined } from "./progress.mjs";
import { html, useEffect, useState } from "./ui.mjs";
import { styleTitle, t } from "./words.mjs";
import { watch } from "./watch.mjs";

const ASK_EVERY = 3000;

export function Room({ id }) {
  const [job, setJob] = useState(null);
  /** By the place of a child; of a job without any, at 0. */
  const [previews, setPreviews] = useState({});
  const [linked, setLinked] = useState(true);
  const [trouble, setTrouble] = useState(null);
  const [gone, setGone] = useState(false);
  const going = job !== null && goes(job);

  useEffect(
    () =>
      watch(
        id,
        (message) => {
          const event = message.event ?? message;
          if (event.type === "preview") setPreviews((known) => ({ ...known, [message.place ?? 0]: event.jpeg }));
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
    if (job !== null && !going) keep(job, true);
  }, [job, going]);

  useEffect(() => {
    if (!going) return undefined;
    const timer = setInterval(async () => {
      const now = await status(id).catch(() => null);
      if (now && !ENDS.has(now.status)) setJob((known) => (known && goes(known) ? { ...known, ...estimates(now) } : known));
    }, ASK_EVERY);
    return () => clearInterval(timer);
  }, [id, going]);

  const update = (news) => setJob((known) => joined(known, news));
  const refresh = async () => update(await status(id));
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
  return html`<section class="room">
    <${Now} ...${{ id, job, previews, linked, attempt, refresh, update, setJob }} />
    <${TroubleBox} trouble=${trouble} />
  </section>`;
}

/** Each of the ways that a job can be. */
function Now({ id, job, previews, linked, attempt, refresh, update, setJob }) {
  if (job.children && (goes(job) || job.children.some(isDone))) {
    return html`<${Film} ...${{ job, previews, linked, attempt, refresh, setJob }} />`;
  }
  if (job.status === "failed") return html`<${Failed} key="failed" job=${job} attempt=${attempt} />`;
  if (job.status === "cancelled") return html`<${Cancelled} key="cancelled" job=${job} attempt=${attempt} />`;
  if (job.status === "completed" && !job.result) return html`<${Empty} trouble=${new Trouble("job_not_found")} />`;
  if (job.status === "completed") {
    const erased = async () => {
      await forget(id);
      letGo(id);
      leaveNote(job.parent ? "erasedOne" : "erased");
      location.hash = "#/rooms";
    };
    return html`<${Heading} key="done">${t("ready", { style: styleTitle(job.style) })}<//>
      <p class="visually-hidden" role="status">${t("readySaid")}</p>
      ${job.parent && html`<p><a href="#/room/${job.parent}">${t("itsOthers")}</a></p>`}
      <${Result} job=${job} attempt=${attempt} refresh=${refresh} />
      <${Acts} job=${job} attempt=${attempt} update=${update} erased=${erased} />`;
  }
  return html`<${Heading} key="becoming">${t("becoming", { style: styleTitle(job.style) })}<//>
    <${Frame} photo=${sent.get(id)?.photo} preview=${previews[0]} progress=${job.progress} />
    <${Meter} job=${job} linked=${linked} attempt=${attempt} />`;
}

const Empty = ({ trouble }) => html`<section class="room"><${Heading}>${t("notHere")}<//><${TroubleBox} trouble=${trouble} />
  <div class="row"><a class="button" href="#/">${t("newRoom")}</a></div></section>`;
