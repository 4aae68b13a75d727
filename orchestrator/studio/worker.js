/**
 * The service worker of the page: the page's own files stay on the device, so that it opens without a network. It answers
 * for nothing else, and no answer of the API passes through here; what is kept of rooms is in kept.mjs.
 *
 * The service fills in the version, which changes with any file of the page: the browser then installs this anew.
 */
const VERSION = "{{version}}";
const NAMES = "{{names}}".split(" ");

const HOME = new URL("../studio", location);
const FILES = new URL(`${VERSION}/`, location);
const SHARE = new URL("share", location);
const SHELLS = "reroom.shell.";
const SHELL = SHELLS + VERSION;
const SHARED = "reroom.shared";
/** Milliseconds for which a network that says nothing is waited for. */
const PATIENCE = 4000;

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(activate()));
addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (origin !== HOME.origin) return;
  if (request.method === "POST" && pathname === SHARE.pathname) event.respondWith(shared(request));
  if (request.method !== "GET") return;
  if (request.mode === "navigate" && pathname === HOME.pathname) event.respondWith(page(request));
  else if (pathname.startsWith(FILES.pathname)) event.respondWith(file(request));
});

/** The page and its files, all of one version, or nothing. */
async function install() {
  const answer = await fetch(HOME, { cache: "no-cache" });
  if (!(await isOurs(answer))) throw new Error("the service is being renewed");
  const shell = await caches.open(SHELL);
  await shell.addAll(NAMES.map((name) => new URL(name, FILES)));
  await shell.put(HOME, answer);
  // Addresses of files carry their version, so pages that are open miss nothing.
  await skipWaiting();
}

async function activate() {
  const old = (await caches.keys()).filter((name) => name.startsWith(SHELLS) && name !== SHELL);
  await Promise.all(old.map((name) => caches.delete(name)));
  await clients.claim();
}

const isOurs = async (answer) => answer.ok && (await answer.clone().text()).includes(`studio/${VERSION}/`);

/** As the service has it now, or as it was where there is no network, or none that answers. */
async function page(request) {
  const kept = await caches.match(HOME, { cacheName: SHELL, ignoreVary: true });
  if (!kept) return fetch(request);
  try {
    const answer = await fetch(request, { signal: AbortSignal.timeout(PATIENCE) });
    if (answer.status >= 500) return kept;
    // It says who may use the service, which may have changed.
    if (await isOurs(answer)) await (await caches.open(SHELL)).put(HOME, answer.clone());
    return answer;
  } catch {
    return kept;
  }
}

async function file(request) {
  return (await caches.match(request, { cacheName: SHELL, ignoreVary: true })) ?? fetch(request);
}

/** A photo that another app of the device gives to this one: the page takes it up (photo.mjs). */
async function shared(request) {
  const photo = (await request.formData()).get("photo");
  if (photo instanceof File) {
    const cache = await caches.open(SHARED);
    await cache.put(SHARE, new Response(photo, { headers: { "Content-Type": photo.type } }));
  }
  return Response.redirect(HOME, 303);
}
