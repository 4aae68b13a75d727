/**
 * What this device keeps, to be seen without a network: the styles with their pictures, and rooms of its own list that were
 * looked at; favourites and the newest, as far as there is room. And files that cannot be had again from the service: the
 * photo that is being worked with, pictures whose colours were wanted. Erased with the room, and all of it when a key is entered
 * or forgotten. Where a browser keeps nothing (no secure page, a private window), nothing is found.
 */
import { ROOT, here } from "./page.mjs";
import { ready } from "./offline.mjs";
import { isFavourite } from "./progress.mjs";
import { noteReached } from "./reached.mjs";

const CACHE = "reroom.kept";
const SHARED = "reroom.shared";
const MOST_ROOMS = 40;
const MOST_BYTES = 40 * 2 ** 20;
const KEEPS = "caches" in globalThis && "locks" in navigator;
const address = (name) => new URL(`studio/kept/${name}`, ROOT).href;
const DRAFTS = address("draft/");
/** Of the lock that each tab has, by its name. */
const HOLDS = "reroom.tab.";
/** Milliseconds for which a tab may be away. */
const AWAY = 3600000;

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

const putPicture = (cache, name, blob) =>
  cache.put(address(name), new Response(blob, { headers: { "Content-Type": blob.type, "Last-Modified": new Date().toUTCString() } }));

async function drop(cache, prefix) {
  const start = address(prefix);
  await Promise.all((await cache.keys()).filter((each) => each.url.startsWith(start)).map((each) => cache.delete(each)));
  for (const [name, url] of urls) {
    if (!name.startsWith(prefix)) continue;
    URL.revokeObjectURL(url);
    urls.delete(name);
  }
}

// Rooms: a list of {job, sizes}, the sizes in bytes by the names of the pictures that were kept.

const ENDS = new Set(["completed", "failed", "cancelled"]);
const rank = (a, b) => Number(b.job.favourite ?? false) - Number(a.job.favourite ?? false) || Date.parse(b.job.created_at) - Date.parse(a.job.created_at);
const total = (rooms) => rooms.flatMap(({ sizes }) => Object.values(sizes)).reduce((sum, size) => sum + size, 0);
const without = (rooms, id) => rooms.filter((each) => each.job.job_id !== id);
const entryOf = (rooms, id) => rooms.find((each) => each.job.job_id === id);

/**
 * The pictures of a job and of its children, `{result, member, name, small}`: the member of the result that links to the picture,
 * and the name that it is kept by. All have one photo.
 */
function picturesOf(job) {
  const made = [{ result: job.result, at: "" }, ...(job.children ?? []).map((each) => ({ result: each.result, at: `${each.job_id}/` }))];
  return made.filter(({ result }) => result?.transformed_url).flatMap(({ result, at }) => [
    { result, member: "thumbnail_url", name: `rooms/${job.job_id}/${at}thumbnail`, small: true },
    { result, member: "transformed_url", name: `rooms/${job.job_id}/${at}after` },
    { result, member: "original_url", name: `rooms/${job.job_id}/before` },
  ]);
}

/** Keeps a finished job: its small pictures, or all of it if `whole`. `isKnown` says whether it is still on this device's list. */
export const keepRoom = (job, whole, isKnown) =>
  quietly(async () => {
    if (job.kept || !ENDS.has(job.status)) return;
    const began = era;
    const before = await readJson(await caches.open(CACHE), "rooms", []);
    const had = entryOf(before, job.job_id);
    const names = new Set(Object.keys(had?.sizes ?? {}));
    const wanted = [];
    for (const each of picturesOf(job)) {
      if (!(whole || each.small) || !each.result[each.member] || names.has(each.name)) continue;
      names.add(each.name);
      wanted.push(each);
    }
    if (!names.size) return;
    const last = before[MOST_ROOMS - 1];
    if (had ? !wanted.length && isFavourite(had.job) === isFavourite(job) : last && rank({ job }, last) > 0) return;
    const blobs = await Promise.all(wanted.map(({ result, member }) => fetched(result[member])));
    await alone(async (cache) => {
      if (began !== era || !isKnown()) return;
      const rooms = await readJson(cache, "rooms", []);
      const entry = { job, sizes: entryOf(rooms, job.job_id)?.sizes ?? {} };
      for (const [place, { name }] of wanted.entries()) {
        if (!blobs[place]) continue;
        await putPicture(cache, name, blobs[place]);
        entry.sizes[name] = blobs[place].size;
      }
      const all = [entry, ...without(rooms, job.job_id)].sort(rank);
      while (all.length > MOST_ROOMS || (all.length > 1 && total(all) > MOST_BYTES)) await drop(cache, `rooms/${all.pop().job.job_id}/`);
      await writeJson(cache, "rooms", all);
    });
  });

/** The job as it was seen last, with pictures of this device; null where not all that the view needs was kept. */
export const keptRoom = (id, whole) =>
  quietly(async () => {
    const cache = await caches.open(CACHE);
    const entry = entryOf(await readJson(cache, "rooms", []), id);
    if (!entry) return null;
    const pictures = picturesOf(entry.job);
    if (whole && !pictures.every(({ name }) => name in entry.sizes)) return null;
    for (const { result, member, name } of pictures) result[member] = await shown(cache, name);
    for (const { result } of pictures) result.labelled_url = null; // it was not kept
    noteReached(false);
    return { ...entry.job, kept: true };
  });

/** The last rooms that were made, as they were seen last, with small pictures of this device: `[{job, picture}]`. */
export const lastRooms = (most) =>
  quietly(async () => {
    const cache = await caches.open(CACHE);
    const newest = (a, b) => Date.parse(b.job.created_at) - Date.parse(a.job.created_at);
    const found = [];
    for (const { job, sizes } of (await readJson(cache, "rooms", [])).sort(newest)) {
      const small = picturesOf(job).find((each) => each.small && each.name in sizes);
      if (small && found.length < most) found.push({ job, picture: await shown(cache, small.name) });
    }
    return found;
  }, []);

/** Erases what this device keeps of a room. */
export const dropRoom = (id) =>
  quietly(() =>
    alone(async (cache) => {
      try {
        await drop(cache, `rooms/${id}/`);
        await writeJson(cache, "rooms", without(await readJson(cache, "rooms", []), id));
      } catch {
        // What cannot be written anew, such as on a full disk, goes altogether.
        await caches.delete(CACHE);
      }
    }),
  );

/** Erases everything that this device keeps of the service, but for the page itself; not what another app has just given to it. */
export function dropAll() {
  era += 1;
  for (const url of urls.values()) URL.revokeObjectURL(url);
  urls.clear();
  return quietly(() => navigator.locks.request(CACHE, () => caches.delete(CACHE)));
}

// Files of who uses the page: of the draft, and references of rooms.

/** Keeps a file by this name; null: none of this name any more. */
export const keepFile = (name, blob) => quietly(() => alone((cache) => (blob ? putPicture(cache, name, blob) : cache.delete(address(name)))));

/** The file of this name, or null. */
export const keptFile = (name) => quietly(async () => (await (await caches.open(CACHE)).match(address(name)))?.blob() ?? null);

/**
 * Erases the files of drafts, `draft/TAB/…`, whose tabs are gone, and holds on to those of this tab for as long as it is there.
 * A phone puts tabs away and brings them back: what was kept in the last hour stays.
 */
export const holdDraft = (tab) =>
  quietly(async () => {
    navigator.locks.request(HOLDS + tab, { mode: "shared" }, () => new Promise(() => {}));
    if (!(await caches.has(CACHE))) return;
    const { held } = await navigator.locks.query();
    const there = new Set([tab, ...held.map(({ name }) => name.slice(HOLDS.length))]);
    await alone(async (cache) => {
      for (const file of (await cache.keys()).filter(({ url }) => url.startsWith(DRAFTS))) {
        if (there.has(file.url.slice(DRAFTS.length).split("/")[0])) continue;
        const kept = Date.parse((await cache.match(file)).headers.get("Last-Modified"));
        if (!(Date.now() - kept < AWAY)) await cache.delete(file);
      }
    });
  });

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
