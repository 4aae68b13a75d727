/** Chromium, as the tests and the pictures of the docs drive it. */
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
