/** Chromium, as the tests and the pictures of the docs drive it. */
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

export const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
export const DESKTOP = { viewport: { width: 1280, height: 800 } };
export const PATIENCE = 30000;

export const launched = (executablePath) =>
  chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"] });

/** A page of its own context, and what it complained of. `expected`: complaints that belong to what is tried. */
export async function opened(browser, options, expected = null) {
  const context = await browser.newContext({ locale: "en-GB", reducedMotion: "reduce", ...options });
  context.setDefaultTimeout(PATIENCE);
  const complaints = [];
  const note = (text) => expected?.test(text) || complaints.push(text);
  context.on("console", (message) => ["error", "warning"].includes(message.type()) && note(message.text()));
  context.on("weberror", (error) => note(String(error.error())));
  await context.addInitScript(() =>
    addEventListener("securitypolicyviolation", (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`)),
  );
  return { context, page: await context.newPage(), complaints };
}

export const heading = (page, name) => page.getByRole("heading", { level: 1, name });

/** Waits until what the page finds out is true. Unlike `waitForFunction`, it waits for promises. */
export async function until(page, ask, argument) {
  for (const end = Date.now() + PATIENCE; !(await page.evaluate(ask, argument)); ) {
    if (Date.now() > end) throw new Error(`it never became true: ${ask}`);
    await new Promise((go) => setTimeout(go, 50));
  }
}

export const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

/** Walks several of `walks` at once, since much of a walk is waiting, and each has a context of its own; `only` the one of this
 * name. Says what became of each. */
export async function taken(walks, only = null, atOnce = 3) {
  const waiting = Object.keys(walks).filter((walk) => (only ?? walk) === walk);
  const walker = async () => {
    while (waiting.length) {
      const walk = waiting.shift();
      const began = Date.now();
      let error = null;
      try {
        assert.deepEqual(await walks[walk](), []);
      } catch (found) {
        error = String(found.stack ?? found);
      }
      say({ walk, error, seconds: (Date.now() - began) / 1000 });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, walker));
}
