/** The page: which view is shown, and what is round it. */
import { Trouble, askEarly, checkKey, key, needsKey, setKey } from "./api.mjs";
import { Compose } from "./compose.mjs";
import { forgetAll } from "./memory.mjs";
import { keepPage } from "./offline.mjs";
import { takeOver } from "./page.mjs";
import { Heading, TroubleBox } from "./parts.mjs";
import { isReached, onReached } from "./reached.mjs";
import { html, render, useEffect, useState } from "./ui.mjs";
import { LANGUAGES, chooseLanguage, language, loadWords, t } from "./words.mjs";

function Studio() {
  const [hash, setHash] = useState(location.hash);
  const [, redraw] = useState(0);
  useEffect(() => {
    const changed = () => {
      setHash(location.hash);
      scrollTo(0, 0);
    };
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  const [reached, setReached] = useState(isReached());
  useEffect(() => onReached(setReached), []);
  const speak = async (event) => {
    await chooseLanguage(event.target.value);
    redraw((n) => n + 1);
  };
  const [, view, id] = hash.match(/^#\/(\w+)(?:\/([\w-]+))?$/) ?? [];
  const leave = () => {
    enterKey("");
    redraw((n) => n + 1);
  };
  const current = (each) => (each === (view ?? "") ? "page" : undefined);
  return html`
    <header>
      <a class="wordmark" href="#/" aria-label=${t("home")}>reroom</a>
      <nav aria-label=${t("views")}>
        <a href="#/" aria-current=${current("")}>${t("newRoom")}</a>
        <a href="#/rooms" aria-current=${current("rooms")}>${t("rooms")}</a>
        ${key() && html`<button class="link" onClick=${leave}>${t("forgetKey")}</button>`}
      </nav>
    </header>
    <p class="offline" role="status">${reached ? "" : t("notReached")}</p>
    <main key=${language}>
      ${needsKey() ? html`<${AskKey} done=${() => redraw((n) => n + 1)} />` : html`<${View} view=${view} id=${id} />`}
    </main>
    <footer>
      <p>${t("remembers")}</p>
      <label>${t("language")} <select value=${language} onChange=${speak}>
        ${Object.entries(LANGUAGES).map(([code, name]) => html`<option key=${code} value=${code} lang=${code}>${name}</option>`)}
      </select></label>
    </footer>`;
}

/** Views that are loaded after the first one. */
const LATER = { room: () => import("./room.mjs"), rooms: () => import("./rooms.mjs") };

function View({ view, id }) {
  if (view === "room" && id) return html`<${Later} key=${id} load=${LATER.room} name="Room" id=${id} />`;
  if (view === "rooms") return html`<${Later} key="rooms" load=${LATER.rooms} name="Rooms" />`;
  return html`<${Compose} />`;
}

function Later({ load, name, ...given }) {
  const [found, setFound] = useState(null);
  const [trouble, setTrouble] = useState(null);
  useEffect(() => void load().then(setFound, () => setTrouble(new Trouble("offline"))), []);
  if (found) return html`<${found[name]} ...${given} />`;
  return html`<${TroubleBox} trouble=${trouble} />`;
}

/** What this device keeps was seen with another key, or with none: it goes. */
function enterKey(text) {
  forgetAll();
  setKey(text);
}

function AskKey({ done }) {
  const [trouble, setTrouble] = useState(null);
  const enter = async (event) => {
    event.preventDefault();
    const text = new FormData(event.target).get("key").trim();
    if (!text) return;
    setTrouble(null);
    try {
      await checkKey(text);
      enterKey(text);
      done();
    } catch (error) {
      setTrouble(error);
    }
  };
  return html`<form class="ask" onSubmit=${enter}>
    <${Heading}>${t("keyTitle")}<//>
    <p>${t("keyText")}</p>
    <div class="field"><label for="key">${t("key")}</label>
      <input id="key" name="key" type="password" autocomplete="off" required spellcheck=${false} aria-invalid=${trouble?.code === "wrong_key"} /></div>
    <${TroubleBox} trouble=${trouble} />
    <button class="main">${t("enter")}</button>
  </form>`;
}

if (!needsKey() && location.hash.length < 3) askEarly();
await loadWords();
takeOver();
keepPage();
render(html`<${Studio} />`, document.getElementById("studio"));
if (document.readyState === "complete") loadLater();
else addEventListener("load", loadLater, { once: true });

/** So that they are there when they are wanted. */
function loadLater() {
  for (const load of Object.values(LATER)) load().catch(() => {});
}
