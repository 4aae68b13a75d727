/**
 * The figures of the page: `node measure.mjs '{"chromium": …, "base": …, "token": …, "visits": …, "profile": …}'`. Prints a line of
 * JSON. benchmarks/page.py starts it over a service that is open and has real models, and says what the figures mean.
 *
 * `profile` is `{"latency", "down", "up", "cpu"}`: milliseconds that each request waits, bytes a second, and how many times slower
 * the processor is. `token` is the administrator's, or null where there is no page for administrators.
 */
import { AxeBuilder } from "@axe-core/playwright";
import { DESKTOP, PHONE, launched, opened } from "./browser.mjs";
import { everyAdminView, everyView } from "./views.mjs";

const given = JSON.parse(process.argv[2]);
const { latency, down, up, cpu } = given.profile;

/** Runs in the page before anything of it: when what one came for can be seen and works, the largest thing, and what jumped. */
function observe() {
  const seen = { useful: null, working: null, lcp: 0, shift: 0 };
  globalThis.seen = seen;
  new PerformanceObserver((list) => list.getEntries().forEach((each) => (seen.shift += each.value))).observe({ type: "layout-shift", buffered: true });
  new PerformanceObserver((list) => (seen.lcp = list.getEntries().at(-1).startTime)).observe({ type: "largest-contentful-paint", buffered: true });
  const when = (selector, name) => {
    const look = () => {
      if (!document.querySelector(selector)) requestAnimationFrame(look);
      // The next frame has been drawn when its task comes.
      else requestAnimationFrame(() => setTimeout(() => (seen[name] = performance.now())));
    };
    requestAnimationFrame(look);
  };
  // A photo can be chosen: the browser's own part of the page needs no script for it. Then the app is there, and has styles.
  when("main input[type=file]", "useful");
  when("input[name=style]", "working");
}

async function visit(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  await session.send("Network.emulateNetworkConditions", { offline: false, latency, downloadThroughput: down, uploadThroughput: up });
  await session.send("Emulation.setCPUThrottlingRate", { rate: cpu });
  let bytes = 0;
  let requests = 0;
  session.on("Network.loadingFinished", ({ encodedDataLength }) => {
    bytes += encodedDataLength;
    requests += encodedDataLength > 0;
  });
  await page.addInitScript(observe);
  await page.goto(`${given.base}/studio`);
  await page.waitForFunction(() => globalThis.seen.working && [...document.images].every((each) => each.loading !== "lazy" || each.complete || each.getBoundingClientRect().top > innerHeight));
  await page.waitForLoadState("networkidle");
  const found = await page.evaluate(() => ({
    first_paint_ms: performance.getEntriesByName("first-contentful-paint")[0].startTime,
    useful_ms: globalThis.seen.useful,
    working_ms: globalThis.seen.working,
    lcp_ms: globalThis.seen.lcp,
    layout_shift: globalThis.seen.shift,
  }));
  await session.detach();
  return { ...found, transfer_kb: bytes / 1000, requests };
}

/** Several visits of someone who never was here, each followed by another of the same reader. */
async function visits(browser) {
  const [first, again] = [[], []];
  for (let n = 0; n < given.visits; n += 1) {
    const { context, page } = await opened(browser, PHONE);
    first.push(await visit(page));
    await page.evaluate(() => navigator.serviceWorker.ready.then(() => true));
    again.push(await visit(await context.newPage()));
    await context.close();
  }
  return { first, again };
}

/** What axe, the policy of the page and the console complain of in every view. */
async function complaints(browser) {
  const [views, axe, policy, errors] = [[], [], [], []];
  for (const [name, device] of [["phone", PHONE], ["desktop, dark", { ...DESKTOP, colorScheme: "dark" }]]) {
    // Without a network, requests fail.
    const { context, page, complaints: found } = await opened(browser, device, /net::ERR_INTERNET_DISCONNECTED/);
    const at = async (view) => {
      views.push(`${view}, ${name}`);
      const { violations } = await new AxeBuilder({ page }).analyze();
      axe.push(...violations.map(({ id, nodes }) => `${view}, ${name}: ${id}: ${nodes.map((each) => each.html).join(" ")}`));
    };
    await everyView(page, given.base, at, "Industrial");
    if (given.token) await everyAdminView(page, given.base, given.token, at);
    await context.close();
    for (const each of found) (each.startsWith("CSP:") ? policy : errors).push(each);
  }
  return { views, axe, policy, errors };
}

const browser = await launched(given.chromium);
const found = { ...(await visits(browser)), ...(await complaints(browser)) };
await browser.close();
process.stdout.write(`${JSON.stringify(found)}\n`);
