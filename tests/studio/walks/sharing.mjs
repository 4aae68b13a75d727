/** Walks to what leaves the page: links for others, and files for the device. */
import assert from "node:assert/strict";
import { DESKTOP, PHONE, opened } from "../browser.mjs";
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

export const sharing = (browser, given) => ({
  "to a link for others": async () => {
    const { context, page, complaints } = await opened(browser, DESKTOP);
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    await withKey(page, given);
    await press(page, "Share");
    await axe(page);
    const link = await page.getByLabel("Link").inputValue();
    await press(page, "Copy the link");
    await page.getByText("The link is copied.").waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), link);
    // It is for everyone: without a key.
    assert.match(await (await fetch(link)).text(), /This picture was changed by AI/);
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
      navigator.share = async (shared) => Object.assign(window, { shared });
    });
    await withKey(page, given);
    await press(page, "Share");
    await press(page, "Send …");
    assert.equal(await page.evaluate(() => window.shared.url), await page.getByLabel("Link").inputValue());
    await context.close();
    return complaints;
  },
});
