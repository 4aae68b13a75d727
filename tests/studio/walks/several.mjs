/** Walks to several pictures of one photo. */
import assert from "node:assert/strict";
import { PHONE, heading, opened } from "../browser.mjs";
import { axe, erases, jobOf, press, withSample, withSeed } from "../steps.mjs";

/** The one after it is the models' slow one. */
const QUICK_THEN_SLOW = "98";

const DONE_THEN_REFUSED = "0";

const gone = async (given, id) => (await fetch(`${given.base}/transform/status/${id}`)).status === 404;

export const several = (browser, given) => ({
  "to several pictures at once": async () => {
    const { context, page, complaints } = await opened(browser, PHONE);
    await withSample(page, given.base);
    await page.getByLabel("Several styles").check();
    await page.getByRole("checkbox", { name: "Boho" }).check();
    await page.getByRole("radio", { name: "2", exact: true }).check();
    await page.getByRole("button", { name: "Make 4 pictures" }).waitFor();
    await withSeed(page, QUICK_THEN_SLOW, "Make 4 pictures");
    await heading(page, "Your room becomes 4 pictures").waitFor();
    // The first is shown as soon as it is there, while others are being made.
    await page.locator(".compare").waitFor();
    await page.getByRole("status").filter({ hasText: /^[123] of 4 ready$/ }).waitFor();
    await axe(page);
    await heading(page, "Your room in 4 pictures").waitFor();
    const parent = jobOf(page);
    const shots = page.getByRole("group", { name: "Pictures" }).getByRole("radio");
    assert.deepEqual(await shots.evaluateAll((all) => all.map((each) => each.labels[0].textContent)),
      ["Modern 1, Ready", "Modern 2, Ready", "Boho 1, Ready", "Boho 2, Ready"]);
    await axe(page);
    const shown = () => page.locator(".compare img").first().getAttribute("src");
    await shots.first().check();
    await shots.first().focus();
    const first = await shown();
    for (const name of [/^Modern 2/, /^Boho 1/]) {
      await page.keyboard.press("ArrowRight");
      await page.getByRole("radio", { name, checked: true }).waitFor();
    }
    await page.waitForFunction((before) => document.querySelector(".compare img").src !== before, first);

    const sheet = page.waitForEvent("download");
    await press(page, "on one sheet");
    assert.match((await sheet).suggestedFilename(), /^reroom-.*contact-sheet\.jpg$/);
    await press(page, "Favourite");
    await page.getByRole("button", { name: "Favourite", pressed: true }).waitFor();
    await page.getByRole("radio", { name: /^Boho 1.*Favourite$/ }).waitFor();
    const children = (await (await fetch(`${given.base}/transform/status/${parent}`)).json()).data.children;

    // A favourite among them has a place of its own among the rooms.
    await page.getByRole("link", { name: "Your rooms" }).click();
    await page.locator(".card").nth(1).waitFor();
    await page.getByText("4 pictures").waitFor();
    await page.locator(".card", { hasText: "4 pictures" }).getByRole("img", { name: "Favourite" }).waitFor();
    await axe(page);
    await page.getByLabel("Favourites only").check();
    await page.locator(".card").nth(1).waitFor({ state: "detached" });
    await page.locator(".card").click();
    await heading(page, "Your room in Boho").waitFor();
    await page.getByRole("link", { name: "The others of this photo" }).click();

    await heading(page, "Your room in 4 pictures").waitFor();
    await page.getByRole("radio", { name: /^Modern 2/ }).check();
    await erases(page, "Erase this picture", ["The photo stays as long as another picture of it does."]);
    await heading(page, "Your room in 3 pictures").waitFor();
    await page.getByText("Erased: this picture is gone. The others stay.").waitFor();
    assert.ok(await gone(given, children[1].job_id));
    await erases(page, "Erase all of these", ["Your favourite goes too", "the pictures of it here, 3,", "Your own photo, in your gallery, stays"]);
    await page.getByText("These pictures are erased.").waitFor();
    await page.getByText("Nothing here yet").waitFor();
    assert.deepEqual(await Promise.all([parent, children[0].job_id, children[2].job_id].map((id) => gone(given, id))), [true, true, true]);
    await context.close();
    return complaints;
  },

  "to two pictures, one of which is refused": async () => {
    const { context, page, complaints } = await opened(browser, PHONE);
    await withSample(page, given.base);
    await page.getByRole("radio", { name: "2", exact: true }).check();
    await withSeed(page, DONE_THEN_REFUSED, "Make 2 pictures");
    await heading(page, "Your room in Modern").waitFor();
    await page.getByRole("radio", { name: /^Modern 2/ }).check();
    await page.getByText("One of the wishes cannot be fulfilled.").waitFor();
    await axe(page);
    await page.getByRole("radio", { name: /^Modern 1/ }).check();
    await page.locator(".compare").waitFor();
    await context.close();
    return complaints;
  },
});
