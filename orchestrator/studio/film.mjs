/** Several pictures of one photo, side by side: each as it is done, one of them large. */
import { erase, status } from "./api.mjs";
import { Frame, Meter, stageOf } from "./becoming.mjs";
import { Star } from "./card.mjs";
import { Acts, Result } from "./done.mjs";
import { letGo, sent } from "./draft.mjs";
import { forget, remember } from "./memory.mjs";
import { leaveNote } from "./note.mjs";
import { Why } from "./next.mjs";
import { here } from "./page.mjs";
import { Heading, Question } from "./parts.mjs";
import { goes, isFavourite, joined } from "./progress.mjs";
import { html, useEffect, useState } from "./ui.mjs";
import { named, styleTitle, t } from "./words.mjs";

export const isDone = (child) => child.status === "completed" && child.result;
/** One that was erased alone is done, and has no picture. */
const isErased = (child) => child.status === "completed" && !child.result;

/** `previews`: the last one of each child, by its place. `refresh` asks for all of it again, `setJob` takes a change of it. */
export function Film({ job, previews, linked, attempt, refresh, setJob }) {
  const [chosen, setChosen] = useState(null);
  const [question, setQuestion] = useState(null);
  const [said, setSaid] = useState("");
  const several = job.children.some((each) => each.variation > 1);
  const shown = job.children.map((each, place) => ({
    ...each, place, parent: job.job_id, title: `${styleTitle(each.style)}${several ? ` ${each.variation}` : ""}`,
  })).filter((each) => !isErased(each));
  const done = shown.filter(isDone);
  // The first that is done is shown until another is chosen.
  const now = shown.find((each) => each.job_id === chosen) ?? done[0] ?? shown.find((each) => each.progress > 0) ?? shown[0];
  useEffect(() => {
    if (chosen === null && done.length) setChosen(done[0].job_id);
  }, [chosen, done.length]);

  const update = (news) => setJob((known) => ({ ...known, children: known.children.map((each) => (each.job_id === news.job_id ? joined(each, news) : each)) }));
  const look = async () => update(await status(now.job_id));
  // What a parent says of its children is not all.
  useEffect(() => {
    if (now && isDone(now) && now.favourite === undefined) attempt(look);
  }, [now?.job_id, now?.status]);

  const removed = async () => {
    await forget(now.job_id);
    setChosen(null);
    if (shown.length > 1) {
      setSaid(t("erasedOne"));
      return refresh();
    }
    return removeAll();
  };
  const removeAll = () => attempt(async () => {
    await erase(job.job_id);
    await Promise.all([job.job_id, ...job.children.map((each) => each.job_id)].map(forget));
    letGo(job.job_id);
    leaveNote("erasedSet");
    location.hash = "#/rooms";
  });
  const ask = () => {
    const text = [t("eraseSetText", { n: done.length }), done.some(isFavourite) && t("eraseSetFavourite")].filter(Boolean).reverse().join("\n");
    setQuestion({ title: t("eraseSetTitle"), text, yes: t("erase"), act: removeAll });
  };
  // A favourite has its own place among the rooms.
  const favoured = (news) => {
    if (news.favourite) remember(news.job_id);
    else forget(news.job_id);
    update(news);
  };
  const ready = t("someReady", { n: done.length, of: shown.length });
  const photo = sent.get(job.job_id)?.photo;
  return html`<${Heading}>${headingOf(job, shown, done)}<//>
    <${Large} child=${now} photo=${photo} preview=${previews[now.place]} attempt=${attempt} refresh=${look} />
    <${Strip} shown=${shown} previews=${previews} photo=${photo} now=${now} choose=${setChosen} />
    ${goes(job) && html`<${Meter} job=${job} linked=${linked} attempt=${attempt} said=${job.progress > 0 ? ready : undefined} />`}
    <p class="note" role="status">${said}</p>
    ${isDone(now) && html`<${Acts} job=${now} attempt=${attempt} update=${favoured} erased=${removed} set=${goes(job) ? null : { job, erase: ask }} />`}
    ${!goes(job) && !isDone(now) && html`<div class="row erase"><button type="button" class="link" onClick=${ask}>${t("eraseSet")}</button></div>`}
    <p class="visually-hidden" role="status">${goes(job) ? "" : ready}</p>
    <${Question} question=${question} close=${() => setQuestion(null)} />`;
}

function headingOf(job, shown, done) {
  if (goes(job)) return t("becomingSeveral", { n: shown.length });
  return done.length === 1 ? t("ready", { style: styleTitle(done[0].style) }) : t("readySeveral", { n: done.length });
}

/** The one that is chosen: as far as it is. */
function Large({ child, photo, preview, attempt, refresh }) {
  if (isDone(child)) return html`<${Result} job=${child} attempt=${attempt} refresh=${refresh} />`;
  if (child.status === "failed") return html`<${Why} error=${child.error} />`;
  return html`<${Frame} photo=${photo} preview=${preview} progress=${child.progress} />`;
}

function Strip({ shown, previews, photo, now, choose }) {
  return html`<fieldset class="film"><legend class="visually-hidden">${t("pictures")}</legend>
    ${shown.map((each) => html`<label key=${each.job_id} class="shot">
      <input type="radio" name="shot" checked=${each === now} onChange=${() => choose(each.job_id)} />
      <${Thumb} child=${each} preview=${previews[each.place]} photo=${photo} />
      <span>${each.title}<span class="visually-hidden">, ${named("states", each.status)}</span></span>
      ${isFavourite(each) && html`<${Star} />`}
    </label>`)}
  </fieldset>`;
}

function Thumb({ child, preview, photo }) {
  if (isDone(child)) return html`<img src=${here(child.result.thumbnail_url)} alt="" width="160" height="120" />`;
  const shown = preview ? `data:image/jpeg;base64,${preview}` : photo?.url;
  return html`<span class="becoming" data-state=${child.status}>
    ${shown && html`<img src=${shown} alt="" width="160" height="120" onError=${(event) => (event.target.hidden = true)} />`}
    <span class="state" aria-hidden="true">${goes(child) ? stageOf(child) : named("states", child.status)}</span>
    ${goes(child) && html`<span class="bar" aria-hidden="true"><i style=${{ width: `${100 * child.progress}%` }}></i></span>`}
  </span>`;
}
