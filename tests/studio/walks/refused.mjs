/** Walks where something is refused: by the browser, which stores nothing, or to a key. */
import assert from "node:assert/strict";
import { DESKTOP, PHONE, heading, opened } from "../browser.mjs";
import { axe, becomes, erases, jobOf, press, withSample } from "../steps.mjs";

const enter = async (page, key) => {
  await page.getByLabel("Key").fill(key);
  await press(page, "Continue");
};

export const refused = (browser, given) => ({
  "where the browser stores nothing": async () => {
    const { context, page, complaints } = await opened(browser, PHONE);
    await page.addInitScript(() => {
      const refuse = () => {
        throw new DOMException("forbidden", "SecurityError");
      };
      for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(globalThis, name, { get: refuse });
      for (const name of ["open", "has", "delete", "keys"]) CacheStorage.prototype[name] = async () => refuse();
    });
    await withSample(page, given.base);
    await press(page, "Restyle this room");
    await becomes(page);
    const id = jobOf(page);
    await page.getByRole("link", { name: "Your rooms" }).click();
    await page.locator(".card").click();
    await erases(page, "Erase this room", ["This cannot be undone."]);
    await page.getByText("This room is erased.").waitFor();
    await page.getByText("Nothing here yet").waitFor();
    assert.equal((await fetch(`${given.base}/transform/status/${id}`)).status, 404);
    await context.close();
    return complaints;
  },

  "on a device that is full": async () => {
    const { context, page, complaints } = await opened(browser, PHONE);
    await withSample(page, given.base);
    await press(page, "Restyle this room");
    await becomes(page);
    const id = jobOf(page);
    await page.evaluate(() => {
      const refuse = () => {
        throw new DOMException("full", "QuotaExceededError");
      };
      Storage.prototype.setItem = refuse;
      Cache.prototype.put = async () => refuse();
    });
    await page.getByRole("link", { name: "New room" }).click();
    await press(page, "Restyle this room");
    await page.waitForURL((url) => url.hash.startsWith("#/room/") && !url.href.includes(id));
    await becomes(page);
    await page.getByRole("link", { name: "Your rooms" }).click();
    await page.locator(".card").nth(1).waitFor();
    await page.locator(".card").nth(1).click();
    assert.equal(jobOf(page), id);
    await erases(page, "Erase this room", ["This cannot be undone."]);
    await page.getByText("This room is erased.").waitFor();
    assert.equal((await fetch(`${given.base}/transform/status/${id}`)).status, 404);
    assert.ok(!(await page.evaluate(async (path) => await caches.match(path), `/studio/kept/rooms/${id}/after`)));
    await context.close();
    return complaints;
  },

  "where not all of the page arrives": async () => {
    const { context, page, complaints } = await opened(browser, PHONE, /net::ERR_FAILED|Failed to fetch/);
    await page.route("**/words/en.json", (route) => route.abort());
    await page.goto(`${given.base}/studio`);
    await page.getByText("This page did not come whole.").waitFor();
    await page.unroute("**/words/en.json");
    await page.reload();
    await press(page, /sample room/);
    await page.getByAltText("Your photo").waitFor();
    await page.evaluate(() => dispatchEvent(new Event("error")));
    assert.equal(await page.getByText("This page did not come whole.").count(), 0);
    await context.close();
    return complaints;
  },

  "where the list cannot be had": async () => {
    const { context, page, complaints } = await opened(browser, DESKTOP, /Failed to load resource/);
    await withSample(page, given.base);
    await press(page, "Restyle this room");
    await becomes(page);
    await page.route("**/transform/status/*", (route) =>
      route.fulfill({ status: 503, contentType: "application/problem+json", json: { code: "queue_unavailable", detail: "away" } }),
    );
    await page.getByRole("link", { name: "Your rooms" }).click();
    await page.getByRole("alert").waitFor();
    assert.equal(await page.getByText("Nothing here yet").count(), 0);
    await axe(page);
    await page.unroute("**/transform/status/*");
    await press(page, "Try again");
    await page.locator(".card").waitFor();
    assert.equal(await page.getByRole("alert").count(), 0);
    await context.close();
    return complaints;
  },

  "with the keys of two people": async () => {
    const { context, page, complaints } = await opened(browser, PHONE, /status of 40[34]/);
    await page.goto(`${given.keyed}/studio`);
    // Pictures that it asked for could not be looked at with it.
    await enter(page, given.submitting);
    await page.getByRole("alert").getByText("This key may not do that.").waitFor();
    await enter(page, given.key);
    await press(page, /sample room/);
    await page.getByAltText("Your photo").waitFor();
    await press(page, "Restyle this room");
    await becomes(page);
    const room = page.url();
    await press(page, "Forget the key");
    await enter(page, given.other);
    await heading(page, "This room cannot be shown").waitFor();
    await page.getByRole("link", { name: "Your rooms" }).click();
    await page.getByText("Nothing here yet").waitFor();
    await press(page, "Forget the key");
    await enter(page, given.key);
    await page.locator(".card").click();
    await page.waitForURL(room);
    await becomes(page);
    await context.close();
    return complaints;
  },

  "with a photo that another app shares, where a key is asked for": async () => {
    const { context, page, complaints } = await opened(browser, PHONE);
    await page.goto(`${given.keyed}/studio`);
    await page.evaluate(async () => {
      const photo = await (await fetch(document.querySelector("script[type=module]").src.replace("app.mjs", "room.webp"))).blob();
      await (await caches.open("reroom.shared")).put("studio/share", new Response(photo, { headers: { "Content-Type": photo.type } }));
    });
    await enter(page, given.key);
    await page.getByAltText("Your photo").waitFor();
    await context.close();
    return complaints;
  },
});
