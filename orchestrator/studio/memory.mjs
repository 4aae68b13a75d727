/** What this device remembers: the ids of its jobs, the newest first; and how the last of them were asked for. */
import { key } from "./api.mjs";
import { dropAll, dropRoom, keepRoom } from "./kept.mjs";
import { forGood } from "./stored.mjs";

const JOBS = "reroom.jobs";
/** What of a key is no secret: its id. */
const KEY_ID = /^rr_([0-9a-f]{16})_/;
const ASKED = "reroom.asked.";
const MOST = 200;
/** Jobs of which it is remembered how they were asked for, and letters of one. */
const MOST_ASKED = 40;
const MOST_LETTERS = 60000;

/** Each key has a list of its own: to another one, its jobs are not there. */
function nameOfList() {
  const [, id] = key().match(KEY_ID) ?? [];
  return id ? `${JOBS}.${id}` : JOBS;
}

function read() {
  try {
    const ids = JSON.parse(forGood.get(nameOfList()) ?? "[]");
    return Array.isArray(ids) ? ids.filter((id) => /^[0-9a-f-]{8,64}$/.test(id)) : [];
  } catch {
    return [];
  }
}

function write(ids) {
  const text = JSON.stringify(ids.slice(0, MOST));
  if (forGood.set(nameOfList(), text)) return;
  // The device is full, and a job of which the id is lost cannot be erased: how jobs were asked for makes room.
  forgetWishes(() => true);
  forGood.set(nameOfList(), text);
}

export const jobs = read;

/** Remembers a job; and, of one that was submitted here, what it was asked for: the wishes of draft.mjs. */
export function remember(id, wishes = null) {
  write([id, ...read().filter((each) => each !== id)]);
  if (!wishes) return;
  const known = read().slice(0, MOST_ASKED);
  forgetWishes((each) => !known.includes(each));
  const text = JSON.stringify(wishes);
  // What was painted can be very long.
  forGood.set(ASKED + id, text.length > MOST_LETTERS ? JSON.stringify({ ...wishes, strokes: [], paint: true }) : text);
}

/**
 * The wishes of a job that was submitted here, or null. `reference`: there was a picture for the colours; `paint`: what was
 * painted was too long to be remembered.
 */
export function asked(id) {
  try {
    return JSON.parse(forGood.get(ASKED + id));
  } catch {
    return null;
  }
}

function forgetWishes(which) {
  const names = forGood.names().filter((each) => each.startsWith(ASKED) && which(each.slice(ASKED.length)));
  for (const each of names) forGood.remove(each);
}

/** Forgets a job, and what was kept of it; resolves when nothing of it is here any more. */
export function forget(id) {
  write(read().filter((each) => each !== id));
  forgetWishes((each) => each === id);
  return dropRoom(id);
}

/** Forgets all but the ids, which are worth nothing without their key. */
export function forgetAll() {
  forgetWishes(() => true);
  dropAll();
}

/** Keeps a job of this device to be seen without a network: all of it (`whole`), or its small picture. */
export const keep = (job, whole) => keepRoom(job, whole, () => read().includes(job.job_id));

/** Calls back when another tab changes the list. Returns the function that ends it. */
export function onChange(changed) {
  const heard = (event) => event.key === nameOfList() && changed();
  addEventListener("storage", heard);
  return () => removeEventListener("storage", heard);
}
