/** The view of what this device remembers: its rooms, and the favourites among them. */
import { erase, status } from "./api.mjs";
import { Card } from "./card.mjs";
import { letGo, startOver } from "./draft.mjs";
import { dropRoom, keptRoom } from "./kept.mjs";
import { forget, jobs, keep, onChange } from "./memory.mjs";
import { takeNote } from "./note.mjs";
import { here } from "./page.mjs";
import { Heading, Question, TroubleBox } from "./parts.mjs";
import { onReached } from "./reached.mjs";
import { html, useEffect, useState } from "./ui.mjs";
import { t } from "./words.mjs";

/** Jobs that are asked for at once. */
const AT_ONCE = 6;

export function Rooms() {
  const [found, setFound] = useState(null);
  const [only, setOnly] = useState(false);
  const [trouble, setTrouble] = useState(null);
  /** Why the list cannot be had. */
  const [unread, setUnread] = useState(null);
  const [question, setQuestion] = useState(null);
  const [note, setNote] = useState("");
  const load = async () => {
    try {
      setFound(await all(jobs()));
      setUnread(null);
    } catch (error) {
      setUnread(error);
      setFound([]);
    }
  };
  useEffect(() => {
    load();
    setNote(takeNote());
    const ends = [onChange(load), onReached((reached) => reached && load())];
    return () => ends.forEach((end) => end());
  }, []);

  const eraseAll = async () => {
    setTrouble(null);
    setNote("");
    try {
      // What is here goes at once, even if the service cannot be reached.
      await Promise.all(jobs().map(dropRoom));
      for (const id of jobs()) {
        await erase(id);
        await forget(id);
        letGo(id);
      }
      startOver();
      setNote("erasedAll");
    } catch (error) {
      setTrouble(error);
    }
    await load();
  };
  const ask = () => setQuestion({ title: t("eraseAllTitle"), text: t("eraseAllText", { n: jobs().length }), yes: t("erase"), act: eraseAll });
  const shown = (found ?? []).filter((each) => !only || each.favourite);

  return html`<section class="rooms">
    <${Heading}>${t("rooms")}<//>
    <p class="note" role="status">${note && t(note)}</p>
    <p class="hint">${t("roomsHint")}</p>
    <${TroubleBox} trouble=${trouble} />
    <${TroubleBox} trouble=${unread}><button type="button" class="plain" onClick=${load}>${t("again")}</button><//>
    ${found?.length > 0 && html`<div class="row">
      <label class="switch"><input type="checkbox" checked=${only} onChange=${(event) => setOnly(event.target.checked)} />${t("onlyFavourites")}</label>
      <button class="link" onClick=${ask}>${t("eraseAll")}</button>
    </div>`}
    <p role="status" class="lead">${found === null ? t("opening") : shown.length || unread ? "" : t(only ? "noFavourites" : "noRooms")}</p>
    <ul class="cards">${shown.map((job) => html`<${Card} key=${job.job_id} job=${job} picture=${pictureOf(job) && here(pictureOf(job))} />`)}</ul>
    ${found !== null && !unread && shown.length === 0 && html`<a class="button" href="#/">${t("newRoom")}</a>`}
    <${Question} question=${question} close=${() => setQuestion(null)} />
  </section>`;
}

const pictureOf = (job) => (job.result ?? job.children?.find((each) => each.result)?.result)?.thumbnail_url;

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
