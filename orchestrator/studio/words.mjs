/** The texts of the page, in the language of whoever reads it. `words/` has a file for each language. */
import { file } from "./page.mjs";
import { forGood } from "./stored.mjs";

export const LANGUAGES = { en: "English", de: "Deutsch" };
const CHOSEN = "reroom.language";

/** Folders of words; what a later one says goes before an earlier one's. */
const folders = ["words"];
let words = {};
export let language = "en";

function preferred() {
  const wanted = [forGood.get(CHOSEN), ...navigator.languages].filter(Boolean);
  return wanted.map((each) => each.slice(0, 2).toLowerCase()).find((each) => each in LANGUAGES) ?? "en";
}

/** Has a page's own words read too. */
export const addWords = (folder) => folders.push(folder);

async function readWords(folder, of) {
  const answer = await fetch(file(`${folder}/${of}.json`));
  if (!answer.ok) throw new Error(`${folder}/${of}.json: ${answer.status}`);
  return answer.json();
}

export async function loadWords(of = preferred()) {
  const found = await Promise.all(folders.map((each) => readWords(each, of)));
  const kinds = new Set(found.flatMap(Object.keys));
  words = Object.fromEntries([...kinds].map((kind) => [kind, Object.assign({}, ...found.map((each) => each[kind]))]));
  language = of;
  document.documentElement.lang = of;
}

export async function chooseLanguage(of) {
  await loadWords(of);
  forGood.set(CHOSEN, of);
}

/** The text of this name, with `{name}` filled in. A name that has no text is shown as it is. */
export function t(name, values = {}) {
  const text = words.texts[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
}

const titles = new Map();

/** Remembers what the service calls its styles. */
export function learnTitles(styles) {
  for (const { name, title } of styles) titles.set(name, title);
}

export function styleTitle(name) {
  const plain = name.replace(/^my-/, "").replaceAll("-", " ");
  return named("styles", name, titles.get(name) ?? plain.charAt(0).toUpperCase() + plain.slice(1));
}

/** What went wrong, and what to do: `{title, advice}` for a code of the service's or of this page's. */
export function problemWords(code) {
  const [title, advice] = words.problems[words.same[code] ?? code] ?? words.problems.internal_error;
  return { title, advice };
}

/** A style's, an object's or a colour's name in this language, where there is one. */
export const named = (kind, name, otherwise = name) => words[kind]?.[name] ?? otherwise;

export const percent = (share) => new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 }).format(share);

/** Several names in one text: a, b and c. */
export const listed = (names) => new Intl.ListFormat(language).format(names);

/** Seconds, as one would say them. */
export function duration(seconds) {
  if (seconds < 90) return t("seconds", { n: Math.max(1, Math.round(seconds)) });
  return t("minutes", { n: Math.round(seconds / 60) });
}

/** In the reader's own way of writing dates, as far as it is of the page's language. */
const dates = (options) => new Intl.DateTimeFormat(localeOf(), options);
const localeOf = () => navigator.languages.find((each) => each.startsWith(language)) ?? language;

/** A day to come, with its hour if it is near, and its year if it is another one. */
export function until(time) {
  const at = new Date(time);
  const hours = (at - Date.now()) / 3600000;
  const year = at.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
  return dates({ day: "numeric", month: "long", year, ...(hours < 48 && { hour: "numeric", minute: "2-digit" }) }).format(at);
}

/** A moment that was; the last two days by their names. */
export function when(time) {
  const at = new Date(time);
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(time).setHours(0, 0, 0, 0)) / 86400000);
  if (days !== 0 && days !== 1) return dates({ dateStyle: "medium", timeStyle: "short" }).format(at);
  const day = new Intl.RelativeTimeFormat(localeOf(), { numeric: "auto" }).format(-days, "day");
  return `${day.charAt(0).toUpperCase()}${day.slice(1)}, ${dates({ timeStyle: "short" }).format(at)}`;
}
