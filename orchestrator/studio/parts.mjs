/** Small parts that several views share. */
import { html, useEffect, useRef } from "./ui.mjs";
import { duration, problemWords, t } from "./words.mjs";

let first = true;

/** The heading of a view. It gets the focus when one comes there from another, so that screen readers begin with it. */
export function Heading({ children }) {
  const at = useRef();
  useEffect(() => {
    if (!first) at.current.focus({ preventScroll: true });
    first = false;
  }, []);
  return html`<h1 ref=${at} tabindex="-1">${children}</h1>`;
}

/** What went wrong, and what to do. The service's own words come with it, as they may name a value. */
export function TroubleBox({ trouble, children }) {
  const at = useRef();
  useEffect(() => at.current?.scrollIntoView({ block: "nearest" }), [trouble]);
  if (!trouble) return null;
  const { title, advice } = problemWords(trouble.code);
  return html`<div ref=${at} class="trouble" role="alert">
    <strong>${title}</strong>
    <p>${advice} ${trouble.retryAfter ? t("tryIn", { time: duration(trouble.retryAfter) }) : ""}</p>
    ${trouble.detail && html`<details><summary>${t("whatTheServiceSaid")}</summary><p lang="en">${trouble.detail}</p></details>`}
    ${children && html`<div class="row">${children}</div>`}
  </div>`;
}

/** A question with two answers. `question` is `{title, text, yes, act}`; null: nothing is asked. */
export function Question({ question, close }) {
  const at = useRef();
  useEffect(() => {
    if (question && !at.current.open) at.current.showModal();
  }, [question]);
  if (!question) return null;
  const answer = (act) => {
    at.current.close();
    close();
    act?.();
  };
  return html`<dialog ref=${at} aria-labelledby="question" onCancel=${() => close()}>
    <h2 id="question">${question.title}</h2>
    <p>${question.text}</p>
    <div class="row">
      <button class="plain" onClick=${() => answer()}>${t("keepIt")}</button>
      <button class="danger" onClick=${() => answer(question.act)}>${question.yes}</button>
    </div>
  </dialog>`;
}
