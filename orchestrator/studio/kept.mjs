/**
 * What this device keeps, to be seen without a network: the styles with their pictures, and rooms of its own list that were
 * looked at; favourites and the newest, as far as there is room. Erased with the room, and all of it when a key is entered
 * or forgotten. Where a browser keeps nothing (no secure page, a private window), nothing is found.
 */
import { ROOT, here } from "./page.mjs";
import { noteReached, ready } from "./offline.mjs";

const CACHE = "reroom.kept";
const SHARED = "reroom.shared";
const MOST_ROOMS = 40;
const MOST_BYTES = 40 * 2 ** 20;
/** The pictures of a room, by the member of its result that links to each. */
const LINKS = { thumbnail: "thumbnail_url", before: "original_url", after: "transformed_url" };
const CARD = ["thumbnail"];
const WHOLE = Object.keys(LINKS);

const KEEPS = "caches" in globalThis && "locks" in navigator;
const address = (name) => new URL(`studio/kept/${name}`, ROOT).href;
const pictureName = (id, kind) => `rooms/${id}/${kind}`;

/** Counts up when everything is erased: what was being kept then is not. */
let era = 0;
/** Addresses of kept pictures for this visit, by their names. */
const urls = new Map();
/** Where pictures lie that pages may show but not read: a bucket without a rule for that (CORS). */
const closed = new Set();

/** For what may fail without harm: a full disk, or storage that the reader has forbidden. */
async function quietly(act, otherwise = null) {
  try {
    return KEEPS ? await act() : otherwise;
  } catch {
    return otherwise;
  }
}

/** One change at a time, over all tabs, so that nothing comes back after it was erased. */
const alone = (act) => navigator.locks.request(CACHE, async () => act(await caches.open(CACHE)));

async function readJson(cache, name, otherwise) {
  const found = await cache.match(address(name));
  return found ? found.json() : otherwise;
}

const writeJson = (cache, name, value) => cache.put(address(name), new Response(JSON.stringify(value)));

async function fetched(link) {
  const url = here(link);
  const { origin } = new URL(url);
  if (closed.has(origin)) return null;
  try {
    const answer = await fetch(url);
    return answer.ok ? await answer.blob() : null;
  } catch {
    if (origin !== ROOT.origin) closed.add(origin);
    return null;
  }
}

async function shown(cache, name) {
  if (!urls.has(name)) {
    const found = await cache.match(address(name));
    if (found) urls.set(name, URL.createObjectURL(await found.blob()));
  }
  return urls.get(name) ?? null;
}

const putPicture = (cache, name, blob) => cache.put(address(name), new Response(blob, { headers: { "Content-Type": blob.type } }));

async function dropPicture(cache, name) {
  await cache.delete(address(name));
  URL.revokeObjectURL(urls.get(name));
  urls.delete(name);
}

// Rooms: a list of {job, sizes}, the sizes in bytes by the kind of picture.

const rank = (a, b) => Number(b.job.favourite) - Number(a.job.favourite) || Date.parse(b.job.created_at) - Date.parse(a.job.created_at);
const total = (rooms) => rooms.flatMap(({ sizes }) => Object.values(sizes)).reduce((sum, size) => sum + size, 0);

/** Keeps a finished job: its small picture, or all of it if `whole`. `isKnown` says whether it is still on this device's list. */
export const keepRoom = (job, whole, isKnown) =>
  quietly(async () => {
    if (job.status !== "completed" || !job.result?.[LINKS.after] || job.kept) return;
    const began = era;
    const before = await readJson(await caches.open(CACHE), "rooms", []);
    const had = before.find((each) => each.job.job_id === job.job_id);
    const wanted = (whole ? WHOLE : CARD).filter((kind) => job.result[LINKS[kind]] && !had?.sizes[kind]);
    const last = before[MOST_ROOMS - 1];
    if (had ? !wanted.length && had.job.favourite === job.favourite : last && rank({ job }, last) > 0) return;
    const blobs = await Promise.all(wanted.map((kind) => fetched(job.result[LINKS[kind]])));
    await alone(async (cache) => {
      if (began !== era || !isKnown()) return;
      const rooms = await readJson(cache, "rooms", []);
      const entry = { job, sizes: rooms.find((each) => each.job.job_id === job.job_id)?.sizes ?? {} };
      for (const [place, kind] of wanted.entries()) {
        if (!blobs[place]) continue;
        await putPicture(cache, pictureName(job.job_id, kind), blobs[place]);
        entry.sizes[kind] = blobs[place].size;
      }
      const all = [entry, ...rooms.filter((each) => each.job.job_id !== job.job_id)].sort(rank);
      while (all.length > MOST_ROOMS || (all.length > 1 && total(all) > MOST_BYTES)) await dropPictures(cache, all.pop().job.job_id);
      await writeJson(cache, "rooms", all);
    });
  });

const dropPictures = (cache, id) => Promise.all(WHOLE.map((kind) => dropPicture(cache, pictureName(id, kind))));

/** The job as it was seen last, with pictures of this device; null where not all that the view needs was kept. */
export const keptRoom = (id, whole) =>
  quietly(async () => {
    const cache = await caches.open(CACHE);
    const entry = (await readJson(cache, "rooms", [])).find((each) => each.job.job_id === id);
    if (!entry || (whole && !entry.sizes.after)) return null;
    noteReached(false);
    const result = { ...entry.job.result };
    for (const [kind, link] of Object.entries(LINKS)) result[link] = await shown(cache, pictureName(id, kind));
    return { ...entry.job, result, kept: true };
  });

/** Erases what this device keeps of a room. */
export async function dropRoom(id) {
  if (!KEEPS) return;
  await alone(async (cache) => {
    await dropPictures(cache, id);
    await writeJson(cache, "rooms", (await readJson(cache, "rooms", [])).filter((each) => each.job.job_id !== id));
  });
}

/** Erases everything that this device keeps, but for the page itself. */
export async function dropAll() {
  era += 1;
  if (!KEEPS) return;
  await navigator.locks.request(CACHE, () => Promise.all([CACHE, SHARED].map((name) => caches.delete(name))));
  for (const url of urls.values()) URL.revokeObjectURL(url);
  urls.clear();
}

// Styles.

/** Keeps the answer of GET /styles, and the pictures of those that are on show. */
export const keepStyles = (answer, onShow) =>
  quietly(async () => {
    if (answer.kept) return;
    const began = era;
    await ready;
    const pictures = onShow.filter((each) => each.picture);
    const blobs = await Promise.all(pictures.map((each) => fetched(each.picture.url)));
    await alone(async (cache) => {
      if (began !== era) return;
      await writeJson(cache, "styles", answer);
      for (const [place, { name }] of pictures.entries()) if (blobs[place]) await putPicture(cache, `styles/${name}`, blobs[place]);
    });
  });

/** What `keepStyles` kept, or null. */
export const keptStyles = () =>
  quietly(async () => {
    const cache = await caches.open(CACHE);
    const answer = await readJson(cache, "styles", null);
    for (const style of answer?.data ?? []) {
      const url = await shown(cache, `styles/${style.name}`);
      style.picture = url && { url };
    }
    if (answer) noteReached(false);
    return answer && { ...answer, kept: true };
  });

/** The photo that another app has given to this one (worker.js), once; null where there is none. */
export const takeShared = () =>
  quietly(async () => {
    const cache = await caches.open(SHARED);
    const found = await cache.match(new URL("studio/share", ROOT).href);
    await caches.delete(SHARED);
    return found ? await found.blob() : null;
  });
