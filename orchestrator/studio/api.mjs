/** Requests to the service. What is refused comes as Trouble, whose code `words/` explains. */
import { IS_OPEN, ROOT } from "./page.mjs";
import { lookNow, noteReached } from "./reached.mjs";
import { ofTab } from "./stored.mjs";

const KEY = "reroom.key";
const TRIES = 3;

/** `code` is one of the service's (docs/errors.md), or `offline`, `bad_answer`, … of this page; `detail` its own words. */
export class Trouble extends Error {
  constructor(code, { detail = "", field = null, retryAfter = null } = {}) {
    super(detail || code);
    Object.assign(this, { code, detail, field, retryAfter });
  }
}

export const key = () => ofTab.get(KEY) ?? "";
export const needsKey = () => !IS_OPEN && !key();

export function setKey(text) {
  if (text) ofTab.set(KEY, text);
  else ofTab.remove(KEY);
}

/** What the service answers, as it comes. Raises Trouble where it refuses. */
export async function request(method, path, { body, headers = {}, signal, redirect, bearer = key() } = {}) {
  const sent = { ...headers };
  if (bearer) sent.Authorization = `Bearer ${bearer}`;
  let answer;
  try {
    answer = await fetch(new URL(path, ROOT), { method, body, headers: sent, signal, redirect });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    lookNow();
    throw new Trouble("offline");
  }
  noteReached(true);
  if (answer.ok || answer.type === "opaqueredirect") return answer;
  const content = await answer.json().catch(() => null);
  const retryAfter = Number(answer.headers.get("retry-after")) || null;
  if (content?.code) throw new Trouble(content.code, { detail: content.detail, field: content.field, retryAfter });
  throw new Trouble("bad_answer", { detail: `${answer.status}`, retryAfter });
}

/** The JSON of an answer. Raises Trouble. */
export async function ask(method, path, options) {
  const answer = await request(method, path, options);
  const content = await answer.json().catch(() => null);
  if (content) return content;
  throw new Trouble("bad_answer", { detail: `${answer.status}` });
}

let early = null;

/** Asks for the styles before the view is there that shows them. */
export function askEarly() {
  early = ask("GET", "styles");
  early.catch(() => {});
}

export function styles() {
  const answer = early ?? ask("GET", "styles");
  early = null;
  return answer;
}

export const status = async (id) => (await ask("GET", `transform/status/${id}`)).data;
export const cancel = async (id) => (await ask("DELETE", `transform/${id}`)).data;
export const setFavourite = async (id, on) => (await ask(on ? "PUT" : "DELETE", `transform/${id}/favourite`)).data;

/** Asks the service whether this key is one that may look at pictures. Raises Trouble. */
export async function checkKey(text) {
  try {
    await ask("GET", "transform?limit=1", { bearer: text });
  } catch (error) {
    throw error.code === "unauthorized" ? new Trouble("wrong_key") : error;
  }
}

/** What the models see in a photo. The service keeps nothing of it. */
export async function analyse(photo, signal) {
  const body = new FormData();
  body.append("file", photo, "photo");
  return (await ask("POST", "analyze", { body, signal })).data;
}

/**
 * Submits a photo, with what was painted over it to stay and a picture whose colours are wanted, or null; the job's id.
 * Asked again when the answer is lost: the service makes one job of it all the same.
 */
export async function submit({ photo, mask, reference }, { styles: names, variations, preferences }) {
  const body = new FormData();
  if (names.length > 1) body.append("styles", names.join(","));
  else body.append("style", names[0]);
  if (variations > 1) body.append("variations", variations);
  body.append("preferences", JSON.stringify(preferences));
  body.append("file", photo.blob, "photo");
  if (mask) body.append("keep_mask", mask, "mask.png");
  if (reference) body.append("reference", reference.blob, "reference");
  const headers = { "Idempotency-Key": `"${unique()}"` };
  for (let tried = 1; ; tried += 1) {
    try {
      return (await ask("POST", "transform/submit", { body, headers })).job_id;
    } catch (error) {
      if (error.code !== "offline" || tried === TRIES) throw error;
      await new Promise((go) => setTimeout(go, 700 * tried));
    }
  }
}

/** The address of a picture that the service makes when it is asked for. It is made by then. Raises Trouble. */
export async function picture(id, which) {
  const url = new URL(`transform/${id}/picture?which=${which}`, ROOT);
  // Where the picture lies may be elsewhere, where this page may not look: the browser is led there by the link.
  await request("GET", url, { redirect: "manual" });
  const pass = await ticket(id);
  if (pass) url.searchParams.set("ticket", pass);
  return url.href;
}

/** Erases a job and its pictures from the service. One that is gone already is no trouble. */
export async function erase(id) {
  for (let tried = 1; ; tried += 1) {
    try {
      await ask("DELETE", `transform/${id}/files`);
      return;
    } catch (error) {
      if (error.code === "job_not_found") return;
      if (error.code !== "job_not_finished" || tried === 20) throw error;
      if (tried === 1) await cancel(id).catch(() => {});
      await new Promise((go) => setTimeout(go, 250));
    }
  }
}

/** For one request without a header; "" where none is needed. */
export async function ticket(id) {
  if (!key()) return "";
  return (await ask("POST", "tickets", { body: JSON.stringify({ job_id: id }) })).ticket;
}

/** 128 random bits. `crypto.randomUUID` is not there for pages over plain HTTP, such as at home. */
function unique() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (each) => each.toString(16).padStart(2, "0")).join("");
}

/** A seed that every number in JavaScript can hold. */
export const randomSeed = () => crypto.getRandomValues(new Uint32Array(1))[0];
