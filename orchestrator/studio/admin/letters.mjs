/** Jobs that were given up: let them wait again, or forget them. */
import { Heading, Question, TroubleBox } from "../parts.mjs";
import { html, useState } from "../ui.mjs";
import { problemWords, t } from "../words.mjs";
import { change, read, remove } from "./api.mjs";
import { number, short } from "./format.mjs";
import { useLive } from "./live.mjs";
import { Ago, Fact, Nothing, useDoing } from "./parts.mjs";

/** Whether it waits again; not so where nothing is left of it to replay. Raises Trouble. */
async function replayOne({ job_id: id }) {
  try {
    await change(`admin/dead-letters/${id}/replay`);
    return true;
  } catch (error) {
    if (error.code === "not_replayed") return false;
    throw error;
  }
}

/** How many are shown. */
const SHOWN = 100;

export function Letters() {
  const { data, trouble, again } = useLive(async (signal) => {
    const [letters, floor] = await Promise.all([read(`admin/dead-letters?limit=${SHOWN}`, signal), read("debug/queue/stats", signal)]);
    return { letters: letters.data, all: floor.dead_letters };
  }, 5);
  const [question, setQuestion] = useState(null);
  const [busy, problem, run] = useDoing();
  const [said, setSaid] = useState("");
  const letters = data?.letters ?? [];
  const act = (name, words, doing) => run(name, async () => {
    try {
      await doing();
      setSaid(words);
    } finally {
      again();
    }
  });
  const replay = ({ job_id: id }) => act(id, t("replayed", { job: short(id) }), () => change(`admin/dead-letters/${id}/replay`));
  const drop = ({ job_id: id }) => setQuestion({ title: t("dropTitle", { job: short(id) }), text: t("dropText"), yes: t("drop"), act: () => act(id, t("dropped", { job: short(id) }), () => remove(`admin/dead-letters/${id}`)) });
  const replayAll = () => setQuestion({ title: t("replayAllTitle", { n: number(letters.length) }), text: t("replayAllText"), yes: t("replayAll"), calm: true, act: () => run("all", async () => {
    let replayed = 0;
    try {
      for (const each of letters) replayed += await replayOne(each);
    } finally {
      setSaid(t("replayedAll", { n: number(replayed), of: number(letters.length) }));
      again();
    }
  }) });
  return html`<section class="view">
    <${Heading}>${t("letters")}<//>
    <p class="hint">${t("lettersHint")}</p>
    <${TroubleBox} trouble=${problem ?? trouble} />
    <p role="status" class="said">${said}</p>
    ${letters.length > 1 && html`<div class="row"><button class="plain" disabled=${busy !== null} onClick=${replayAll}>${t("replayAll")}</button></div>`}
    ${letters.length === 0 && !trouble && html`<${Nothing} data=${data}>${t("noLetters")}<//>`}
    <ul class="entries">${letters.map((each) => html`<li key=${each.job_id} class="card entry">
      <div class="head"><h2>${problemWords(each.code).title}</h2><code class="badge plain">${each.code}</code></div>
      <p class="detail" lang="en">${each.detail}</p>
      <dl class="facts">
        <${Fact} wide name=${t("job")}><code>${each.job_id}</code><//>
        <${Fact} name=${t("attempts")}>${number(each.attempts)}<//>
        <${Fact} name=${t("givenUp")}><${Ago} time=${each.at} /><//>
      </dl>
      <div class="row">
        <button class="plain" disabled=${busy !== null} onClick=${() => replay(each)}>${t("replay")}<span class="visually-hidden"> ${short(each.job_id)}</span></button>
        <button class="plain bad" disabled=${busy !== null} onClick=${() => drop(each)}>${t("drop")}<span class="visually-hidden"> ${short(each.job_id)}</span></button>
      </div>
    </li>`)}</ul>
    ${data && data.all > letters.length && html`<p class="hint">${t("andMore", { n: number(data.all - letters.length) })}</p>`}
    <${Question} question=${question} close=${() => setQuestion(null)} />
  </section>`;
}
