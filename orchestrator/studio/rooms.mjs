/** The view of what this device remembers: its rooms, and the favourites among them. */
import { erase, status } from "./api.mjs";
import { sent } from "./draft.mjs";
import { dropRoom, keptRoom } from "./kept.mjs";
import { forget, jobs, keep, onChange } from "./memory.mjs";
import { here } from "./page.mjs";
import { Heading, Question, TroubleBox } from "./parts.mjs";
import { onReached } from "./reached.mjs";
import { html, useEffect, useState } from "./ui.mjs";
import { listed, named, styleTitle, t, when } from "./words.mjs";

/** Jobs that are asked for at once. */
const AT_ONCE = 6;

export function Rooms() {
  const [found, setFound] = useState(null);
  const [only, setOnly] = useState(false);
  const [trouble, setTrouble] = useState(null);
  const [question, setQuestion] = useState(null);
  const load = async () => {
    try {
      setFound(await all(jobs()));
    } catch (error) {
      setTrouble(error);
      setFound([]);
    }
  };
  useEffect(() => {
    load();
    const ends = [onChange(load), onReached((reached) => reached && load())];
    return () => ends.forEach((end) => end());
  }, []);

  const eraseAll = async () => {
    setTrouble(null);
    try {
      // What is here goes at once, even if the service cannot be reached.
      await Promise.all(jobs().map(dropRoom));
      for (const id of jobs()) {
        await erase(id);
        await forget(id);
        sent.delete(id);
      }
    } catch (error) {
      setTrouble(error);
    }
    await load();
  };
  const ask = () => setQuestion({ title: t("eraseAllTitle"), text: t("eraseAllText"), yes: t("eraseAll"), act: eraseAll });
  const shown = (found ?? []).filter((each) => !only || each.favourite);

  return html`<section class="rooms">
    <${Heading}>${t("rooms")}<//>
    <p class="hint">${t("roomsHint")}</p>
    <${TroubleBox} trouble=${trouble} />
    ${found?.length > 0 && html`<div class="row">
      <label class="switch"><input type="checkbox" checked=${only} onChange=${(event) => setOnly(event.target.checked)} />${t("onlyFavourites")}</label>
      <button class="link" onClick=${ask}>${t("eraseAll")}</button>
    </div>`}
    <p role="status" class="lead">${found === null ? t("opening") : shown.length ? "" : t(only ? "noFavourites" : "noRooms")}</p>
    <ul class="cards">${shown.map((job) => html`<${Card} key=${job.job_id} job=${job} />`)}</ul>
    ${found !== null && shown.length === 0 && html`<a class="button" href="#/">${t("newRoom")}</a>`}
    <${Question} question=${question} close=${() => setQuestion(null)} />
  </section>`;
}

function Card({ job }) {
  const style = job.children ? listed([...new Set(job.children.map((each) => styleTitle(each.style)))]) : styleTitle(job.style);
  const picture = (job.result ?? job.children?.find((each) => each.result)?.result)?.thumbnail_url;
  return html`<li><a class="card" href="#/room/${job.job_id}">
    ${picture ? html`<img src=${here(picture)} alt="" width="320" height="240" loading="lazy" />` : html`<span class="state">${named("states", job.status)}</span>`}
    ${picture && job.children && html`<span class="count">${t("severalPictures", { n: job.children.length })}</span>`}
    <span class="name">${style}${job.favourite && html` <span role="img" aria-label=${t("favourite")}>★</span>`}</span>
    <time datetime=${job.created_at}>${when(job.created_at)}</time>
  </a></li>`;
}

/**
 * The jobs of these ids, as of now; without a network as this device kept them. What the service does not have any more is
 * forgotten here too. Raises Trouble, unless something can be shown.
 */
async function all(ids) {
  const found = [];
  let trouble = null;
  const ask = async (id) => {
    try {
      found.push(await status(id));
    } catch (error) {
      const kept = error.code === "offline" && (await keptRoom(id, false));
      if (kept) found.push(kept);
      else if (error.code === "job_not_found") await forget(id);
      else trouble = error;
    }
  };
  for (let at = 0; at < ids.length; at += AT_ONCE) await Promise.all(ids.slice(at, at + AT_ONCE).map(ask));
  if (trouble && !found.length) throw trouble;
  for (const job of found) keep(job, false);
  return found.sort((a, b) => ids.indexOf(a.job_id) - ids.indexOf(b.job_id));
}
