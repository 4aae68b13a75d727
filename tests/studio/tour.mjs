/**
 * The frames of a walk through the page on a phone, for an animation: `node tour.mjs '{"chromium": …, "base": …, "out": …}'`, of a
 * service that is open. Writes 000.png, 001.png, … and frames.json, a list of `[file, milliseconds]`. docs/studio.py starts it.
 */
import { writeFileSync } from "node:fs";
import { heading, launched, opened } from "./browser.mjs";

const given = JSON.parse(process.argv[2]);
const PHONE = { viewport: { width: 360, height: 660 }, hasTouch: true, isMobile: true, deviceScaleFactor: 1.5 };
const STYLE = given.style ?? "Industrial";
const [MOMENT, SHORT, LONG] = [70, 600, 1700];

const browser = await launched(given.chromium);
const { context, page } = await opened(browser, PHONE);
page.setDefaultTimeout(120000);
const frames = [];

async function frame(milliseconds) {
  const name = `${String(frames.length).padStart(3, "0")}.png`;
  await page.screenshot({ path: `${given.out}/${name}` });
  frames.push([name, milliseconds]);
}

/** A finger comes to what is tapped, which is seen. */
async function tap(what) {
  const box = await what.boundingBox();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  await page.evaluate(([left, top]) => {
    const finger = document.createElement("div");
    finger.id = "finger";
    Object.assign(finger.style, { position: "fixed", left: `${left - 19}px`, top: `${top - 19}px`, width: "38px", height: "38px", borderRadius: "50%", background: "rgb(42 37 33 / 35%)", border: "2px solid rgb(255 255 255 / 90%)", zIndex: 9, pointerEvents: "none" });
    document.body.append(finger);
  }, [x, y]);
  await frame(SHORT);
  await page.evaluate(() => document.getElementById("finger").remove());
  await what.click();
}

async function scrollTo(y, steps = 7) {
  const from = await page.evaluate(() => scrollY);
  for (let n = 1; n <= steps; n += 1) {
    // Slow, fast, slow.
    const share = (1 - Math.cos((Math.PI * n) / steps)) / 2;
    await page.evaluate((at) => window.scrollTo(0, at), from + (y - from) * share);
    await frame(MOMENT);
  }
}

const scrollBy = async (to) => scrollTo(await to.evaluate((each) => each.getBoundingClientRect().top + scrollY - 90));
const loaded = () => page.waitForFunction(() => [...document.images].every((each) => each.loading === "lazy" || (each.complete && each.naturalWidth)));

await page.goto(`${given.base}/studio`);
await page.locator("input[name=style]").first().waitFor();
await loaded();
await frame(LONG);
await tap(page.getByRole("button", { name: /sample room/ }));
await page.getByAltText("Your photo").waitFor();
await loaded();
await frame(SHORT);
const sofa = page.locator(".names").getByRole("button", { name: /sofa/ }).first();
await sofa.waitFor();
await frame(LONG);
await tap(sofa);
await page.locator(".said", { hasText: "sofa" }).waitFor();
await frame(LONG);
await scrollBy(page.locator(".styles"));
await loaded();
await frame(SHORT);
await tap(page.locator("label.style", { hasText: STYLE }));
await frame(SHORT);
await tap(page.getByRole("button", { name: "Restyle this room" }));
const done = heading(page, /Your room in/);
await page.locator("h1", { hasText: /Your room (becomes|in)/ }).waitFor();
for (let last = ""; !(await done.isVisible()); ) {
  const now = await page.evaluate(() => document.querySelector("main").innerText + (document.querySelector(".preview")?.src.length ?? "") + document.querySelector("progress")?.value);
  if (now !== last) await frame(280);
  last = now;
}
await page.waitForFunction(() => [...document.querySelectorAll(".compare img")].every((each) => each.naturalWidth > 0));
await frame(900);
const slider = page.getByRole("slider", { name: "Compare before and after" });
for (const [from, to] of [[50, 8], [8, 92], [92, 50]]) {
  for (let at = from; at !== to; ) {
    at = from < to ? Math.min(to, at + 7) : Math.max(to, at - 7);
    await slider.fill(String(at));
    await frame(MOMENT);
  }
}
await frame(SHORT);
await tap(page.getByRole("button", { name: "Favourite" }));
await page.getByRole("button", { name: "Favourite", pressed: true }).waitFor();
await frame(900);
await tap(page.getByRole("link", { name: "Your rooms" }));
await page.locator(".card img").first().waitFor();
await loaded();
await frame(LONG + 600);
writeFileSync(`${given.out}/frames.json`, JSON.stringify(frames));
await context.close();
await browser.close();
