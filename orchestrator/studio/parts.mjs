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

/** Something over the page that one answers or closes. */
export function Dialog({ title, close, children }) {
  const at = useRef();
  useEffect(() => at.current.showModal(), []);
  return html`<dialog ref=${at} aria-labelledby="dialog-title" onClose=${close}>
    <h2 id="dialog-title">${title}</h2>
    ${children}
  </dialog>`;
}

/** For what is pressed in a dialog: the focus goes back to where it was. */
export const closeDialog = (event) => event.target.closest("dialog").close();

/** A question with two answers. `question` is `{title, text, yes, act}`, the text of several lines; null: nothing is asked. */
export function Question({ question, close }) {
  if (!question) return null;
  const answer = (event, act) => {
    closeDialog(event);
    act?.();
  };
  return html`<${Dialog} title=${question.title} close=${close}>
    <ul>${question.text.split("\n").map((each) => html`<li key=${each}>${each}</li>`)}</ul>
    <div class="row">
      <button type="button" class="plain" onClick=${answer}>${t("keepIt")}</button>
      <button type="button" class="danger" onClick=${(event) => answer(event, question.act)}>${question.yes}</button>
    </div>
  <//>`;
}

/** One of a few: `options` are `[value, text]`. */
export const Segments = ({ label, name, value, options, choose }) => html`<fieldset class="segments">
  <legend>${label}</legend>
  <div>${options.map(([each, text]) => html`<label key=${each}>
    <input type="radio" name=${name} value=${each} checked=${each === value} onChange=${() => choose(each)} /><span>${text}</span>
  </label>`)}</div>
</fieldset>`;

export const Slider = ({ id, label, value, min, max, step, shown, hint, onChange }) => html`<div class="field">
  <div class="ends"><label for=${id}>${label}</label><output for=${id}>${shown}</output></div>
  <input type="range" id=${id} min=${min} max=${max} step=${step} value=${value} aria-valuetext=${shown} aria-describedby=${hint && `${id}-hint`}
    onInput=${(event) => onChange(Number(event.target.value))} />
  ${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}
</div>`;
