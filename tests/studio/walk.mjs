/**
 * The walks through /studio in a real browser: `node walk.mjs '{"chromium": …, "base": …, "relay": …, "keyed": …, "key": …,
 * "other": …, "submitting": …, "renewed": …, "photo": …}'`. Prints a line of JSON for each walk, `{"walk", "error"}`; `{"do": "cut"}` where whoever started
 * this shall cut the relay's connections, and `{"do": "renew"}` where the service at `renewed` shall have another version.
 */
import assert from "node:assert/strict";
import { DESKTOP, PHONE, heading, launched, opened, say, taken, until } from "./browser.mjs";
import { HANGS, REFUSED, SLOW, axe, erases, jobOf, press, tabTo, withSample, withSeed } from "./steps.mjs";
import { again } from "./walks/again.mjs";
import { keeping } from "./walks/keeping.mjs";
import { offline } from "./walks/offline.mjs";
import { refused } from "./walks/refused.mjs";
import { sharing } from "./walks/sharing.mjs";
import { several } from "./walks/several.mjs";
import { telling } from "./walks/telling.mjs";
import { taking } from "./walks/taking.mjs";
import { waiting } from "./walks/waiting.mjs";

const given = JSON.parse(process.argv[2]);
const browser = await launched(given.chromium);

async function wholeWalk(device) {
  const { context, page, complaints } = await opened(browser, device);
  await page.goto(given.base);
  assert.equal(new URL(page.url()).pathname, "/studio");
  await heading(page, "See your room").waitFor();
  await page.getByRole("radio").first().waitFor();
  await axe(page);
  assert.ok(await page.getByRole("button", { name: "Restyle this room" }).isDisabled());
  await press(page, /sample room/);
  await page.getByAltText("Your photo").waitFor();
  await press(page, /Show all \d+ styles/);
  await page.getByRole("radio", { name: "Boho" }).check();
  await page.getByLabel("Anything special?").fill("a lot of plants");
  await page.getByText("More wishes").click();
  await page.getByRole("checkbox", { name: "sage green" }).check();
  await page.getByLabel("Seed").fill(SLOW);
  await axe(page);
  await press(page, "Restyle this room");
  await heading(page, "Your room becomes Boho").waitFor();
  await page.getByRole("img", { name: "The picture so far" }).waitFor();
  assert.ok(await page.getByRole("progressbar").isVisible());
  await axe(page);
  await heading(page, "Your room in Boho").waitFor();
  const first = jobOf(page);
  await page.waitForFunction(() => [...document.querySelectorAll(".compare img")].every((each) => each.naturalWidth > 0));
  assert.equal(await page.evaluate(() => document.activeElement.tagName), "H1");
  await axe(page);
  const slider = page.getByRole("slider", { name: "Compare before and after" });
  await slider.focus();
  await page.keyboard.press("ArrowRight");
  assert.equal(await slider.getAttribute("aria-valuetext"), "51% before");
  const box = await page.locator(".compare").boundingBox();
  for (const share of [0.04, 0.2, 0.93]) {
    await page.mouse.click(box.x + box.width * share, box.y + box.height / 2);
    const border = await page.locator(".compare .border").boundingBox();
    const off = Math.abs(border.x + border.width / 2 - box.x - box.width * share);
    assert.ok(off < 3 + 0.005 * box.width, `pressed at ${share}, the border is ${off} pixels away`);
  }
  const downloading = page.waitForEvent("download");
  await page.getByRole("link", { name: "Download" }).click();
  const file = (await downloading).suggestedFilename();
  assert.match(file, /^reroom-boho-\w+\.jpg$/);
  await page.getByText(`The download has begun: ${file}`).waitFor();
  await press(page, "Favourite");
  await page.getByRole("button", { name: "Favourite", pressed: true }).waitFor();
  const known = (await (await fetch(`${given.base}/transform/status/${first}`)).json()).data;
  assert.ok(known.favourite);
  assert.deepEqual(known.result.metadata.seed, Number(SLOW));

  await press(page, "Make another like this");
  await page.waitForURL((url) => !url.href.includes(first));
  await heading(page, "Your room in Boho").waitFor();
  const second = jobOf(page);
  await page.goBack();
  await page.getByRole("button", { name: "Favourite", pressed: true }).waitFor();
  assert.equal(jobOf(page), first);

  await page.getByRole("link", { name: "Your rooms" }).click();
  await heading(page, "Your rooms").waitFor();
  await page.locator(".card").nth(1).waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll(".card img")].every((each) => each.naturalWidth > 0));
  await axe(page);
  await page.getByLabel("Favourites only").check();
  await page.locator(".card").nth(1).waitFor({ state: "detached" });
  await page.locator(".card").click();
  await press(page, "Erase this room");
  await press(page, "Keep it");
  const shared = await page.evaluate((id) => fetch(`transform/status/${id}`).then((answer) => answer.json()).then(({ data }) => data.result.page_url), first);
  assert.equal((await fetch(shared)).status, 200);
  await erases(page, "Erase this room", ["Your own photo, in your gallery, stays", "Links that you shared stop working at once.", "Other rooms that you made of the same photo stay."]);
  await heading(page, "Your rooms").waitFor();
  await page.getByText("This room is erased. Other rooms of the same photo stay.").waitFor();
  assert.equal((await fetch(shared)).status, 404);
  assert.equal((await fetch(`${given.base}/transform/status/${first}`)).status, 404);
  await page.locator(".card").waitFor();
  assert.deepEqual(await page.evaluate(() => JSON.parse(localStorage.getItem("reroom.jobs"))), [second]);
  await erases(page, "Erase all", ["All of this list, 1, favourites too"]);
  await page.getByText("Erased: all photos and pictures of this list are gone.").waitFor();
  await page.getByText("Nothing here yet").waitFor();
  assert.equal((await fetch(`${given.base}/transform/status/${second}`)).status, 404);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "it can be scrolled sideways");
  await context.close();
  return complaints;
}

async function keyboardWalk(device) {
  const { context, page, complaints } = await opened(browser, device);
  await page.goto(`${given.base}/studio`);
  await page.getByRole("radio").first().waitFor();
  await tabTo(page, "sample room");
  await page.keyboard.press("Enter");
  await page.getByAltText("Your photo").waitFor();
  await page.locator(".names").waitFor();
  await tabTo(page, "sofa");
  await page.keyboard.press("Space");
  await page.getByText("Stays: sofa.").waitFor();
  await tabTo(page, "Modern");
  await page.keyboard.press("ArrowRight");
  const chosen = await page.locator("input[name=style]:checked").inputValue();
  assert.notEqual(chosen, "modern");
  await tabTo(page, "Restyle this room");
  await page.keyboard.press("Enter");
  await heading(page, /Your room in/).waitFor();
  await tabTo(page, "Compare before and after");
  await page.keyboard.press("Home");
  await tabTo(page, "Change style or wishes");
  await page.keyboard.press("Enter");
  await page.getByText("The photo and your wishes are here again.").waitFor();
  assert.equal(await page.locator("input[name=style]:checked").inputValue(), chosen);
  await page.goBack();
  await heading(page, /Your room in/).waitFor();
  await tabTo(page, "Erase this room");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await context.close();
  return complaints;
}

const WALKS = {
  ...again(browser, given),
  ...keeping(browser, given),
  ...offline(browser, given, say),
  ...refused(browser, given),
  ...several(browser, given),
  ...sharing(browser, given),
  ...taking(browser, given),
  ...telling(browser, given),
  ...waiting(browser, given),

  "on a phone": () => wholeWalk(PHONE),
  "on a desktop, in the dark": () => wholeWalk({ ...DESKTOP, colorScheme: "dark" }),

  "with the keyboard alone": () => keyboardWalk(DESKTOP),
  "with the keyboard alone, on a phone": () => keyboardWalk(PHONE),

  "when the connection is lost": async () => {
    const { context, page, complaints } = await opened(browser, PHONE, /net::|WebSocket/);
    await withSample(page, given.relay);
    await withSeed(page, SLOW);
    await page.getByRole("img", { name: "The picture so far" }).waitFor();
    const noticed = page.getByText("Reconnecting").waitFor();
    say({ do: "cut" });
    await noticed;
    await heading(page, /Your room in/).waitFor();
    // Links of the service's own name lead to where the page was loaded from.
    assert.ok((await page.getByRole("link", { name: "Download" }).getAttribute("href")).startsWith(given.relay));
    await context.close();
    return complaints;
  },

  "where no WebSocket comes through": async () => {
    const { context, page, complaints } = await opened(browser, PHONE, /WebSocket/);
    await page.routeWebSocket(/\/ws\//, (socket) => socket.close({ code: 1011 }));
    await withSample(page, given.base);
    await page.getByRole("radio", { name: "2", exact: true }).check();
    await press(page, "Make 2 pictures");
    await heading(page, "Your room in 2 pictures").waitFor();
    await context.close();
    return complaints;
  },

  "with what goes wrong": async () => {
    const { context, page, complaints } = await opened(browser, PHONE, /Failed to load resource/);
    await page.goto(`${given.base}/studio`);
    const input = page.locator("input[type=file]").first();
    await input.setInputFiles({ name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("a note") });
    await page.getByRole("alert").getByText("cannot read that file").waitFor();
    await axe(page);
    await withSample(page, given.base);
    await page.route("**/transform/submit", (route) =>
      route.fulfill({ status: 503, contentType: "application/problem+json", headers: { "Retry-After": "20" }, body: JSON.stringify({ code: "queue_full", detail: "the queue is full" }) }),
    );
    await press(page, "Restyle this room");
    await page.getByRole("alert").getByText("In about 20 s").waitFor();
    await page.unroute("**/transform/submit");
    await withSeed(page, REFUSED);
    await heading(page, "This did not work").waitFor();
    await page.getByText("One of the wishes cannot be fulfilled.").waitFor();
    await axe(page);
    await press(page, "Change style or wishes");
    await page.getByAltText("Your photo").waitFor();
    // What is open stays so, whatever becomes of what was brought back.
    await page.getByLabel("Seed").fill("");
    assert.ok(await page.getByLabel("Seed").isVisible());
    // As long as the service's own ones are.
    await page.getByLabel("Seed").fill("3268271789425472");
    assert.ok(await page.getByLabel("Seed").evaluate((each) => each.checkValidity()));
    await withSeed(page, HANGS);
    await press(page, "Cancel");
    await heading(page, "Cancelled").waitFor();
    await axe(page);
    await page.goto(`${given.base}/studio#/room/${"f".repeat(32)}`);
    await page.getByText("This room is not there any more").waitFor();
    await axe(page);
    await context.close();
    return complaints;
  },

  "with a large photo that lies on its side, in German": async () => {
    const { context, page, complaints } = await opened(browser, { ...PHONE, locale: "de-DE" });
    await page.goto(`${given.base}/studio`);
    await page.locator("input[type=file]").first().setInputFiles(given.photo);
    await page.getByAltText("Ihr Foto").waitFor();
    await press(page, "Zimmer verwandeln");
    await heading(page, /^Ihr Zimmer: Modern/).waitFor();
    assert.equal(await page.locator("html").getAttribute("lang"), "de");
    const before = page.locator(".compare .before");
    await page.waitForFunction(() => document.querySelector(".compare .before").naturalWidth > 0);
    assert.deepEqual(await before.evaluate((each) => [each.naturalWidth, each.naturalHeight]), [1638, 2048]);
    await context.close();
    return complaints;
  },

  "in two tabs": async () => {
    const { context, page, complaints } = await opened(browser, DESKTOP);
    const other = await context.newPage();
    await other.goto(`${given.base}/studio#/rooms`);
    await other.getByText("Nothing here yet").waitFor();
    await withSample(page, given.base);
    // A third one takes nothing from the first.
    const third = await context.newPage();
    await third.goto(`${given.base}/studio`);
    await third.getByText("Start with a photo").waitFor();
    await page.reload();
    await page.getByAltText("Your photo").waitFor();
    let send;
    const sent = new Promise((go) => (send = go));
    await page.route("**/transform/submit", async (route) => {
      await sent;
      await route.continue();
    });
    await press(page, "Restyle this room");
    // What is chosen from now on is not of this room.
    await page.getByLabel("Anything special?").fill("a wish that came too late");
    send();
    await other.locator(".card").waitFor();
    await heading(page, /Your room in/).waitFor();
    await page.getByText("How it was made").click();
    assert.equal(await page.getByText("a wish that came too late").count(), 0);
    await context.close();
    return complaints;
  },

  "with a wrong key": async () => {
    const { context, page, complaints } = await opened(browser, PHONE, /status of 401/);
    await page.goto(`${given.keyed}/studio`);
    assert.equal(await page.getByLabel("Key").evaluate((each) => each.spellcheck), false);
    await page.getByLabel("Key").fill(`${given.key}x`);
    await press(page, "Continue");
    await page.getByRole("alert").getByText("This key is not valid.").waitFor();
    await axe(page);
    await page.getByLabel("Key").fill(given.key);
    await press(page, "Continue");
    await heading(page, "See your room").waitFor();
    await context.close();
    return complaints;
  },

  "with a key": async () => {
    const { context, page, complaints } = await opened(browser, PHONE);
    await page.goto(`${given.keyed}/studio`);
    await heading(page, "This service asks for a key").waitFor();
    await axe(page);
    await page.getByLabel("Key").fill(given.key);
    await press(page, "Continue");
    await press(page, /sample room/);
    await page.getByAltText("Your photo").waitFor();
    await press(page, "Restyle this room");
    await heading(page, /Your room in/).waitFor();
    await page.waitForFunction(() => [...document.querySelectorAll(".compare img")].every((each) => each.naturalWidth > 0));
    await page.getByRole("link", { name: "Your rooms" }).click();
    await page.locator(".card img").waitFor();
    await until(page, () => caches.has("reroom.kept"));
    await press(page, "Forget the key");
    await heading(page, "This service asks for a key").waitFor();
    await until(page, async () => !(await caches.has("reroom.kept")));
    await context.close();
    return complaints;
  },
};

await taken(WALKS, given.only);
await browser.close();
