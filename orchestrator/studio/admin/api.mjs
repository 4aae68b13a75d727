/** The administrators' API. The key is kept in this tab alone, and is sent in a header. */
import { ask, request } from "../api.mjs";
import { ofTab } from "../stored.mjs";

const KEY = "reroom.admin";

export const key = () => ofTab.get(KEY) ?? "";
const listeners = new Set();

/** Why the service ended the last visit; null: it did not. */
export let refused = null;

export function setKey(text, why = null) {
  refused = why;
  if (text) ofTab.set(KEY, text);
  else ofTab.remove(KEY);
  for (const each of listeners) each();
}

/** Calls back when the key is set or forgotten. Returns the function that ends it. */
export function onKey(changed) {
  listeners.add(changed);
  return () => listeners.delete(changed);
}

/** The answer's JSON. A key that is not valid any more is forgotten. Raises Trouble. */
async function call(method, path, { json, signal } = {}) {
  const bearer = key();
  const body = json === undefined ? undefined : JSON.stringify(json);
  const headers = json === undefined ? {} : { "Content-Type": "application/json" };
  try {
    return await ask(method, path, { body, headers, signal, bearer });
  } catch (error) {
    if (error.code === "unauthorized" && key() === bearer) setKey("", error);
    throw error;
  }
}

export const read = (path, signal) => call("GET", path, { signal });
export const change = (path, json) => call("POST", path, { json });
export const remove = (path) => call("DELETE", path);

/** Saves an answer that is no JSON as a file: a link could not send the key. Raises Trouble. */
export async function save(path, name) {
  const answer = await request("GET", path, { bearer: key() });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** Whether the service takes this key for an administrator's. Raises Trouble. */
export const tryKey = (text) => ask("GET", "admin/plans", { bearer: text });

export const query = (values) => {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) for (const each of [value].flat()) if (each !== "") found.append(name, each);
  return found.size ? `?${found}` : "";
};

/** The first of the last `days` days, as the service counts them. */
export const daysAgo = (days) => new Date(Date.now() - (days - 1) * 86400000).toISOString().slice(0, 10);
