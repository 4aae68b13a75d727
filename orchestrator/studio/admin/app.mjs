/** The page for administrators: which view is shown, and what is round it. */
import { Heading, TroubleBox } from "../parts.mjs";
import { html, render, useEffect, useState } from "../ui.mjs";
import { LANGUAGES, addWords, chooseLanguage, language, loadWords, t } from "../words.mjs";
import { key, onKey, refused, setKey, tryKey } from "./api.mjs";
import { Failures } from "./failures.mjs";
import { Keys } from "./keys.mjs";
import { Letters } from "./letters.mjs";
import { isLive, setLive } from "./live.mjs";
import { Overview } from "./overview.mjs";
import { useDoing } from "./parts.mjs";
import { Releases } from "./releases.mjs";
import { Tritons } from "./tritons.mjs";
import { Usage } from "./usage.mjs";
import { Workers } from "./workers.mjs";

const VIEWS = { "": Overview, workers: Workers, tritons: Tritons, releases: Releases, keys: Keys, usage: Usage, letters: Letters, failures: Failures };
/** The name of each view's text. */
const NAMES = { "": "overview", workers: "workers", tritons: "tritons", releases: "releases", keys: "keys", usage: "usage", letters: "letters", failures: "failures" };

const viewOf = (hash) => hash.match(/^#\/(\w*)/)?.[1] ?? "";

function Admin() {
  const [view, setView] = useState(viewOf(location.hash));
  const [, redraw] = useState(0);
  const again = () => redraw((n) => n + 1);
  useEffect(() => {
    const moved = () => {
      setView(viewOf(location.hash));
      scrollTo(0, 0);
    };
    addEventListener("hashchange", moved);
    const forget = onKey(again);
    return () => {
      removeEventListener("hashchange", moved);
      forget();
    };
  }, []);
  const speak = async (event) => {
    await chooseLanguage(event.target.value);
    again();
  };
  const shown = view in VIEWS ? view : "";
  // On a phone, the views' names are wider than the screen.
  useEffect(() => document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }), [shown]);
  const View = VIEWS[shown];
  return html`
    <header>
      <a class="wordmark" href="#/" aria-label=${t("adminHome")}>reroom<span>admin</span></a>
      ${key() && html`<div class="row">
        <label class="switch"><input type="checkbox" role="switch" checked=${isLive()} onChange=${(event) => setLive(event.target.checked)} />${t("live")}</label>
        <button class="link" onClick=${() => setKey("")}>${t("signOut")}</button>
      </div>`}
    </header>
    <div class=${key() ? "sides" : "alone"}>
      ${key() && html`<nav aria-label=${t("views")}>${Object.entries(NAMES).map(
        ([of, name]) => html`<a key=${of} href=${`#/${of}`} aria-current=${of === shown ? "page" : undefined}>${t(name)}</a>`,
      )}</nav>`}
      <main key=${language}>${key() ? html`<${View} key=${shown} />` : html`<${SignIn} />`}</main>
    </div>
    <footer>
      <p>${t("adminRemembers")}</p>
      <label>${t("language")} <select value=${language} onChange=${speak}>
        ${Object.entries(LANGUAGES).map(([code, name]) => html`<option key=${code} value=${code} lang=${code}>${name}</option>`)}
      </select></label>
    </footer>`;
}

function SignIn() {
  const [busy, trouble, run] = useDoing();
  const enter = (event) => {
    event.preventDefault();
    const text = new FormData(event.target).get("key").trim();
    if (text)
      run("key", async () => {
        await tryKey(text);
        setKey(text);
      });
  };
  return html`<form class="ask" onSubmit=${enter}>
    <${Heading}>${t("signInTitle")}<//>
    <p>${t("signInText")}</p>
    <${TroubleBox} trouble=${trouble ?? refused} />
    <div class="field"><label for="key">${t("adminKey")}</label>
      <input id="key" name="key" type="password" autocomplete="off" required spellcheck=${false} /></div>
    <button class="main" disabled=${busy !== null}>${t("signIn")}</button>
  </form>`;
}

addWords("admin/words");
await loadWords();
render(html`<${Admin} />`, document.getElementById("studio"));
