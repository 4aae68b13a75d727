/** What this device remembers: the ids of its jobs, the newest first; and for this visit how they were asked for. */
import { dropRoom, keepRoom } from "./kept.mjs";

const JOBS = "reroom.jobs";
const ASKED = "reroom.asked.";
const MOST = 200;

function read() {
  try {
    const ids = JSON.parse(localStorage.getItem(JOBS) ?? "[]");
    return Array.isArray(ids) ? ids.filter((id) => /^[0-9a-f-]{8,64}$/.test(id)) : [];
  } catch {
    return [];
  }
}

const write = (ids) => localStorage.setItem(JOBS, JSON.stringify(ids.slice(0, MOST)));

export const jobs = read;

/** Remembers a job; what it was asked for, where that is known, lasts as long as the tab. */
export function remember(id, asked = null) {
  write([id, ...read().filter((each) => each !== id)]);
  if (asked) sessionStorage.setItem(ASKED + id, JSON.stringify(asked));
}

/** Forgets a job, and what was kept of it; resolves when nothing of it is here any more. */
export function forget(id) {
  write(read().filter((each) => each !== id));
  sessionStorage.removeItem(ASKED + id);
  return dropRoom(id);
}

/** Keeps a job of this device to be seen without a network: all of it (`whole`), or its small picture. */
export const keep = (job, whole) => keepRoom(job, whole, () => read().includes(job.job_id));

/** `{styles, variations, preferences, more}` of a job of this visit, or null; `more`: files beside the photo were sent. */
export function asked(id) {
  const text = sessionStorage.getItem(ASKED + id);
  return text === null ? null : JSON.parse(text);
}

/** Calls back when another tab changes the list. Returns the function that ends it. */
export function onChange(changed) {
  const heard = (event) => event.key === JOBS && changed();
  addEventListener("storage", heard);
  return () => removeEventListener("storage", heard);
}
