/** Walks on a device whose browser keeps the page: without a network, with a newer version, as an app that gets photos. */
import assert from "node:assert/strict";
import { PHONE, heading, opened, until } from "../browser.mjs";
import { axe, erases, jobOf, press, withSample } from "../steps.mjs";

/** `say({do: …})` asks whoever started the walks. */
export const offline = (browser, given, say) => ({
  "without a network": async () => {
    const { context, page, complaints } = await opened(browser, PHONE, /net::ERR_INTERNET_DISCONNECTED/);
    const stored = () => page.evaluate(async () => {
      const found = {};
      for (const name of await caches.keys()) found[name] = (await (await caches.open(name)).keys()).map((each) => new URL(each.url).pathname);
      return found;
    });
    const kept = async () => (await stored())["reroom.kept"] ?? [];
    const isKept = (path) => until(page, async (wanted) => (await caches.match(wanted)) !== undefined, path);
    await withSample(page, given.base);
    await press(page, "Restyle this room");
    await heading(page, /Your room in/).waitFor();
    const id = jobOf(page);
    await press(page, "Favourite");
    await page.getByRole("button", { name: "Favourite", pressed: true }).waitFor();
    await isKept(`/studio/kept/rooms/${id}/after`);
    await page.getByRole("link", { name: "Your rooms" }).click();
    await page.locator(".card").waitFor();
    await isKept("/studio/kept/styles/modern");

    await context.setOffline(true);
    const [worker] = context.serviceWorkers();
    assert.ok(await worker.evaluate(() => fetch(HOME).then(() => false, () => true)), "the service worker is not cut off");
    await page.reload();
    await page.getByText("The service is out of reach.").waitFor();
    await page.waitForFunction(() => document.querySelector(".card img")?.naturalWidth > 0);
    await axe(page);
    await page.getByLabel("Favourites only").check();
    await page.locator(".card").click();
    await heading(page, "Your room in Modern").waitFor();
    await page.waitForFunction(() => [...document.querySelectorAll(".compare img")].every((each) => each.naturalWidth > 0));
    await page.reload();
    await heading(page, "Your room in Modern").waitFor();
    const downloading = page.waitForEvent("download");
    await page.getByRole("link", { name: "Download" }).click();
    assert.equal((await downloading).suggestedFilename(), `reroom-modern-${id.slice(0, 6)}.jpg`);
    await page.getByRole("link", { name: "New room" }).click();
    await page.waitForFunction(() => document.querySelector(".style img")?.naturalWidth > 0);
    await axe(page);

    // Nothing but the page itself, and what was seen of this device's own.
    for (const [name, paths] of Object.entries(await stored())) {
      const allowed = name === "reroom.kept" ? /^\/studio\/kept\/(draft|rooms|styles)(\/|$)/ : /^\/studio(\/[0-9a-f]{16}\/.*)?$/;
      for (const path of paths) assert.match(path, allowed, name);
    }
    await context.setOffline(false);
    await page.getByText("The service is out of reach.").waitFor({ state: "detached" });
    await page.goto(`${given.base}/studio#/room/${id}`);
    await erases(page, "Erase this room", ["This cannot be undone."]);
    await page.getByText("Nothing here yet").waitFor();
    assert.deepEqual((await kept()).filter((each) => each.includes(id)), []);
    assert.equal((await page.evaluate(async () => (await (await caches.match("/studio/kept/rooms")).text()))), "[]");
    await context.close();
    return complaints;
  },

  "with a newer version": async () => {
    const { context, page, complaints } = await opened(browser, PHONE, /net::ERR_INTERNET_DISCONNECTED/);
    const shells = () => page.evaluate(async () => (await caches.keys()).filter((each) => each.startsWith("reroom.shell.")));
    await page.goto(`${given.renewed}/studio`);
    await until(page, async () => (await navigator.serviceWorker.ready) !== null);
    const [old] = await shells();
    say({ do: "renew" });
    while ((await (await fetch(`${given.renewed}/studio`)).text()).includes(old.split(".").pop()));
    await page.reload();
    await until(page, async (before) => !(await caches.has(before)), old);
    const [renewed] = await shells();
    assert.notEqual(renewed, old);
    await context.setOffline(true);
    await page.reload();
    await heading(page, "See your room").waitFor();
    const script = await page.locator("script[type=module]").getAttribute("src");
    assert.equal(`reroom.shell.${script.split("/")[1]}`, renewed);
    await context.close();
    return complaints;
  },

  "with a photo that another app shares": async () => {
    const { context, page, complaints } = await opened(browser, PHONE);
    await page.goto(`${given.base}/studio`);
    await page.waitForFunction(() => navigator.serviceWorker.controller);
    // As the system does it once the page is installed. The page's own policy lets no form be sent.
    await page.goto("about:blank");
    await page.setContent(`<form method="post" enctype="multipart/form-data" action="${given.base}/studio/share"><input type="file" name="photo" /><button>Share</button></form>`);
    await page.locator("input").setInputFiles(given.photo);
    await press(page, "Share");
    await page.getByAltText("Your photo").waitFor();
    assert.equal(page.url(), `${given.base}/studio`);
    // It came once.
    const other = await context.newPage();
    await other.goto(`${given.base}/studio`);
    await other.getByText("Start with a photo").waitFor();
    await context.close();
    return complaints;
  },
});
