/** API keys: who has one, making, rotating and revoking them. */
import { Heading, Question, TroubleBox } from "../parts.mjs";
import { html, useEffect, useRef, useState } from "../ui.mjs";
import { t, when } from "../words.mjs";
import { change, read } from "./api.mjs";
import { useLive } from "./live.mjs";
import { Ago, Badge, Fact, Nothing, useDoing } from "./parts.mjs";

const SCOPES = ["transform", "read", "admin"];
const DAY = 86400;

export function Keys() {
  const { data, trouble, again } = useLive(async (signal) => {
    const [keys, plans] = await Promise.all([read("admin/keys", signal), read("admin/plans", signal)]);
    return { keys: keys.data.reverse(), plans: Object.keys(plans.data) };
  }, 10);
  const [ended, setEnded] = useState(false);
  const [question, setQuestion] = useState(null);
  const [made, setMade] = useState(null);
  const [busy, problem, run] = useDoing();
  const all = data?.keys ?? [];
  const shown = all.filter((each) => ended || each.secrets > 0);
  const act = (name, doing) => run(name, async () => {
    setMade((await doing()).key ?? null);
    again();
  });
  const rotate = (each) => setQuestion({ title: t("rotateTitle", { name: each.name }), text: t("rotateText"), yes: t("rotate"), act: () => act(each.id, () => change(`admin/keys/${each.id}/rotate`, {})) });
  const revoke = (each) => setQuestion({ title: t("revokeTitle", { name: each.name }), text: t("revokeText"), yes: t("revoke"), act: () => act(each.id, () => change(`admin/keys/${each.id}/revoke`)) });
  return html`<section class="view">
    <${Heading}>${t("keys")}<//>
    <${TroubleBox} trouble=${problem ?? trouble} />
    ${data && html`<${NewKey} plans=${data.plans} busy=${busy !== null} make=${(wish) => act("new", () => change("admin/keys", wish))} />`}
    ${all.some((each) => each.secrets === 0) && html`<label class="switch"><input type="checkbox" checked=${ended} onChange=${(event) => setEnded(event.target.checked)} />${t("endedToo")}</label>`}
    ${shown.length === 0 && !trouble && html`<${Nothing} data=${data}>${t("noKeys")}<//>`}
    <ul class="entries">${shown.map((each) => html`<li key=${each.id} class="card entry">
      <div class="head"><h2>${each.name}</h2><${State} of=${each} /></div>
      <dl class="facts">
        <${Fact} wide name=${t("id")}><code>${each.id}</code><//>
        <${Fact} name=${t("plan")}>${each.plan}<//>
        <${Fact} name=${t("mayDo")}>${each.scopes.join(", ")}<//>
        <${Fact} name=${t("lastUsed")}>${each.last_used_at ? html`<${Ago} time=${each.last_used_at} />` : t("never")}<//>
        <${Fact} name=${t("made")}><${Ago} time=${each.created_at} /><//>
        <${Fact} name=${t("expires")}>${each.expires_at ? when(each.expires_at) : t("never")}<//>
      </dl>
      ${each.secrets > 0 && html`<div class="row">
        <button class="plain" disabled=${busy !== null} onClick=${() => rotate(each)}>${t("rotate")}<span class="visually-hidden"> ${each.name}</span></button>
        <button class="plain bad" disabled=${busy !== null} onClick=${() => revoke(each)}>${t("revoke")}<span class="visually-hidden"> ${each.name}</span></button>
      </div>`}
    </li>`)}</ul>
    <${Question} question=${question} close=${() => setQuestion(null)} />
    <${Secret} text=${made} close=${() => setMade(null)} />
  </section>`;
}

function State({ of }) {
  if (of.revoked_at) return html`<${Badge} state="bad">${t("revoked")}<//>`;
  if (of.secrets === 0) return html`<${Badge} state="plain">${t("expired")}<//>`;
  return html`<${Badge} state="good">${t(of.secrets > 1 ? "twoSecrets" : "valid")}<//>`;
}

function NewKey({ plans, busy, make }) {
  const [scopes, setScopes] = useState(["transform", "read"]);
  const toggle = (scope) => setScopes(scopes.includes(scope) ? scopes.filter((each) => each !== scope) : [...scopes, scope]);
  const send = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const days = Number(form.get("days"));
    make({ name: form.get("name").trim(), plan: form.get("plan"), scopes, ...(days > 0 && { expires_in: Math.round(days * DAY) }) });
    event.target.reset();
  };
  return html`<details class="card new"><summary>${t("newKey")}</summary>
    <form onSubmit=${send}>
      <div class="field"><label for="name">${t("name")}</label><input id="name" name="name" required maxlength="100" autocomplete="off" /></div>
      <div class="field"><label for="plan">${t("plan")}</label><select id="plan" name="plan">${plans.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></div>
      <div class="field"><label for="days">${t("lastsDays")}</label><input id="days" name="days" type="number" min="1" max="36500" placeholder=${t("forever")} /></div>
      <fieldset><legend>${t("mayDo")}</legend><div class="row">${SCOPES.map((scope) => html`<label key=${scope} class="switch"><input type="checkbox" checked=${scopes.includes(scope)} onChange=${() => toggle(scope)} />${t(`scope_${scope}`)}</label>`)}</div></fieldset>
      <button disabled=${busy || scopes.length === 0}>${t("makeKey")}</button>
    </form>
  </details>`;
}

/** The new secret, which is shown this once. */
function Secret({ text, close }) {
  const at = useRef();
  const isSaved = useRef(false);
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    setCopied(false);
    isSaved.current = false;
    if (text) at.current.showModal();
  }, [text]);
  if (!text) return null;
  const copy = async () => {
    await navigator.clipboard?.writeText(text).then(() => setCopied(true), () => {});
  };
  const done = () => {
    isSaved.current = true;
    at.current.close();
    close();
  };
  // Escape must not take away what cannot be shown again; browsers let it be refused once.
  const stay = () => isSaved.current || at.current?.showModal();
  return html`<dialog ref=${at} aria-labelledby="secret" onCancel=${(event) => event.preventDefault()} onClose=${stay}>
    <h2 id="secret">${t("secretTitle")}</h2>
    <p>${t("secretText")}</p>
    <input class="secret" readonly value=${text} aria-label=${t("key")} onFocus=${(event) => event.target.select()} />
    <div class="row"><span role="status">${copied && t("copied")}</span>
      ${navigator.clipboard && html`<button class="plain" onClick=${copy}>${t("copy")}</button>`}<button onClick=${done}>${t("saved")}</button></div>
  </dialog>`;
}
