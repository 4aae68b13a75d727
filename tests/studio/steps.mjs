/** Steps that several walks share. */
import assert from "node:assert/strict";
import { AxeBuilder } from "@axe-core/playwright";
import { heading } from "./browser.mjs";

/** Seeds, by which the tests' model knows what to do: see tests/support/drawing_worker.py. */
export const REFUSED = "1";
export const HANGS = "4";
export const SLOW = "99";

export async function axe(page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map((each) => each.html).join(" ")}`), []);
}

/** What the dialog for erasing says, and `act` answers. */
export async function erases(page, button, says) {
  await press(page, button);
  const dialog = page.getByRole("dialog");
  for (const each of says) await dialog.getByText(each).waitFor();
  await axe(page);
  await dialog.getByRole("button", { name: "Erase", exact: true }).click();
}

export const press = (page, name) => page.getByRole("button", { name }).click();
export const jobOf = (page) => page.url().split("/").pop();

export async function withSample(page, base) {
  await page.goto(`${base}/studio`);
  await press(page, /sample room/);
  await page.getByAltText("Your photo").waitFor();
}

export async function withSeed(page, seed, button = "Restyle this room") {
  // It is open where wishes came back from a room.
  if (!(await page.getByLabel("Seed").isVisible())) await page.getByText("More wishes").click();
  await page.getByLabel("Seed").fill(seed);
  await press(page, button);
}

export async function tabTo(page, wanted) {
  for (let n = 0; n < 90; n += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate((text) => document.activeElement !== document.body && (document.activeElement.getAttribute("aria-label") ?? document.activeElement.labels?.[0]?.textContent ?? document.activeElement.textContent).includes(text), wanted)) return;
  }
  assert.fail(`the Tab key does not come to ${wanted}`);
}

/** The result of what was asked for, with its pictures loaded. */
export async function becomes(page, wanted = /^Your room in/) {
  await heading(page, wanted).waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll(".compare img")].every((each) => each.naturalWidth > 0));
}

/** The colours, [red, green, blue, …], at a place, [x, y] in 0..1: in the picture that is shown, and in the photo. */
export const colours = (page, place) =>
  page.evaluate(([x, y]) =>
    Promise.all([...document.querySelectorAll(".compare img")].map(async (each) => {
      // What has not come yet would be painted as nothing.
      await each.decode();
      const { naturalWidth: width, naturalHeight: height } = each;
      const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
      pen.drawImage(each, 0, 0);
      return [...pen.getImageData(Math.round(x * width), Math.round(y * height), 1, 1).data];
    })), place);

/** Whether each of the places is as photographed in the picture that is shown. */
export const asPhotographed = (page, ...places) =>
  Promise.all(places.map(async (place) => {
    const [after, before] = await colours(page, place);
    return after.every((value, at) => Math.abs(value - before[at]) < 24);
  }));
