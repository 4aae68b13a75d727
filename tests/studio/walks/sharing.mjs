/** Walks to what leaves the page: links for others, and files for the device. */
import assert from "node:assert/strict";
import { DESKTOP, PHONE, heading, opened } from "../browser.mjs";
import { axe, becomes, press } from "../steps.mjs";

async function withKey(page, given) {
  await page.goto(`${given.keyed}/studio`);
  await page.getByLabel("Key").fill(given.key);
  await press(page, "Continue");
  await press(page, /sample room/);
  await page.getByAltText("Your photo").waitFor();
  await press(page, "Restyle this room");
  await becomes(page);
}

const NARROW = { ...PHONE, viewport: { width: 320, height: 640 } };
const pictures = (page) => page.waitForFunction(() => [...document.querySelectorAll(".pair img")].every((each) => each.naturalWidth > 0));

/** What whoever is given the link sees. */
async function receives(browser, device, link) {
  const { context, page, complaints } = await opened(browser, device);
  const german = device.locale === "de-DE";
  await page.goto(link);
  await heading(page, german ? "Ein Zimmer: Modern" : "A room in Modern").waitFor();
  await pictures(page);
  await axe(page);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing is cut off");
  const slider = page.getByRole("slider", { name: german ? "Mit dem Original vergleichen" : "Compare with the original" });
  await slider.focus();
  for (const key of ["Home", "ArrowRight"]) await page.keyboard.press(key);
  assert.equal((await slider.getAttribute("aria-valuetext")).replace(/\s/g, ""), german ? "1%Original" : "1%original");
  const box = await slider.boundingBox();
  assert.ok(box.width > 0.8 * Math.min(page.viewportSize().width, 900));
  assert.ok(await page.getByText(german ? "Von KI verändert." : "Changed by AI.", { exact: true }).isVisible());
  await page.getByRole("link", { name: german ? "Mein Zimmer verwandeln" : "Restyle your own room" }).click();
  await page.waitForURL("**/studio");
  await context.close();
  return complaints;
}

/** The same without script: one picture after the other. */
async function receivesPlain(browser, link) {
  const { context, page, complaints } = await opened(browser, { ...PHONE, javaScriptEnabled: false });
  await page.goto(link);
  const [changed, photo] = await page.locator(".pair img").all();
  const [above, below] = [await changed.boundingBox(), await photo.boundingBox()];
  assert.ok(above.height > 100 && below.height > 100 && below.y >= above.y + above.height);
  await context.close();
  return complaints;
}

export const sharing = (browser, given) => ({
  "to a link for others": async () => {
    const { context, page, complaints } = await opened(browser, DESKTOP);
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    await withKey(page, given);
    await press(page, "Share");
    await axe(page);
    const link = await page.getByLabel("Link").inputValue();
    await page.waitForFunction(() => document.querySelector("dialog img").naturalWidth > 0);
    const place = async () => Object.values(await page.getByRole("dialog").boundingBox()).map(Math.round);
    const before = await place();
    await press(page, "Copy the link");
    await page.getByRole("status").filter({ hasText: "Copied." }).waitFor();
    assert.ok((await place()).every((side, n) => Math.abs(side - before[n]) <= 1), "nothing moves");
    assert.match(await page.getByRole("dialog").textContent(), /beside your photo, and reads that AI changed it\.The link works until \d+ \w+/);
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), link);
    const opening = context.waitForEvent("page");
    await page.getByRole("link", { name: "Open the page (new tab)" }).click();
    await heading(await opening, "A room in Modern").waitFor();
    // It is for everyone: without a key.
    for (const device of [DESKTOP, { ...NARROW, colorScheme: "dark" }, { ...NARROW, locale: "de-DE" }]) complaints.push(...(await receives(browser, device, link)));
    complaints.push(...(await receivesPlain(browser, link)));
    const saved = async (act) => {
      const download = page.waitForEvent("download");
      await act();
      return (await download).suggestedFilename();
    };
    await press(page, "Close");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Share");
    const name = await saved(() => page.getByRole("link", { name: "Download" }).click());
    assert.match(name, /^reroom-modern-\w+\.jpg$/);
    assert.equal(await saved(() => page.getByRole("link", { name: "with “AI” written on it" }).click()), name.replace(".jpg", "-labelled.jpg"));
    assert.equal(await saved(() => press(page, "before and after, side by side")), name.replace(".jpg", "-before-after.jpg"));
    await context.close();
    return complaints;
  },

  "to a link that the phone passes on": async () => {
    const { context, page, complaints } = await opened(browser, PHONE);
    await context.addInitScript(() => {
      navigator.canShare = ({ files }) => files.every((each) => each.type === "image/jpeg");
      navigator.share = async (shared) => Object.assign(window, { shared });
    });
    await withKey(page, given);
    await press(page, "Share");
    await axe(page);
    await press(page, "Send the link …");
    assert.equal(await page.evaluate(() => window.shared.url), await page.getByLabel("Link").inputValue());
    await press(page, "Send the picture …");
    assert.deepEqual(
      await page.evaluate(() => window.shared.files.map(({ name, type, size }) => [name, type, size > 1000])),
      [["reroom.jpg", "image/jpeg", true]],
    );
    await context.close();
    return complaints;
  },
});
