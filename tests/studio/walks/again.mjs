/** Walks of who comes back: to a room of another visit, to a page that is loaded again. */
import assert from "node:assert/strict";
import { DESKTOP, PHONE, heading, opened, until } from "../browser.mjs";
import { asPhotographed, axe, becomes, colours, erases, jobOf, press, withSample } from "../steps.mjs";

const SOFA = [0.7, 0.9];
const WALL = [0.6, 0.3];
const CEILING = [0.3, 0.12];

/** What can be wished for, as it stands in the page. */
const wishes = (page) => page.evaluate(() => ({
  checked: [...document.querySelectorAll(".wishes :checked:not(option)")].map((each) => each.labels[0].textContent.trim()),
  typed: [...document.querySelectorAll(".wishes :is(textarea, input:is([inputmode], [type=range]))")].map((each) => each.value),
  said: document.querySelector(".said").firstChild.textContent.trim(),
  reference: document.querySelector(".swatch") !== null,
}));

async function brush(page, ...places) {
  const at = await page.locator(".canvas").boundingBox();
  const [first, ...rest] = places.map(([x, y]) => [at.x + x * at.width, at.y + y * at.height]);
  await page.mouse.move(...first);
  await page.mouse.down();
  for (const point of rest) await page.mouse.move(...point, { steps: 8 });
  await page.mouse.up();
}

async function red(page) {
  const bytes = await page.evaluate(async () => {
    const pen = new OffscreenCanvas(320, 240).getContext("2d");
    pen.fillStyle = "#f00";
    pen.fillRect(0, 0, 320, 240);
    return [...new Uint8Array(await (await pen.canvas.convertToBlob()).arrayBuffer())];
  });
  return { name: "red.png", mimeType: "image/png", buffer: Buffer.from(bytes) };
}

export const again = (browser, given) => ({
  "back to a room of another visit": async () => {
    const { context, page, complaints } = await opened(browser, DESKTOP);
    await withSample(page, given.base);
    await page.locator(".names").getByRole("button", { name: "sofa" }).click();
    await page.getByRole("radio", { name: "Brush over" }).check();
    await page.evaluate(() => scrollTo(0, 0));
    await brush(page, [0.2, 0.12], [0.75, 0.12]);
    await page.getByRole("radio", { name: "Boho" }).check();
    await page.getByLabel("Several styles").check();
    await page.getByRole("checkbox", { name: "Japandi" }).check();
    await page.getByLabel("Anything special?").fill("a lot of plants");
    await page.getByLabel("Keep the room’s shape").fill("0.7");
    await page.getByText("More wishes").click();
    await page.getByRole("checkbox", { name: "sage green" }).check();
    await page.getByLabel("Distance from the photo").fill("0.6");
    await page.getByLabel("Seed").fill("7");
    await page.getByLabel("Also with “AI”").uncheck();
    await page.getByRole("group", { name: "Colours of a picture" }).locator("input").setInputFiles(await red(page));
    await page.getByAltText("The picture whose colours are wanted").waitFor();
    const wished = await wishes(page);
    assert.deepEqual([wished.said, wished.reference], ["Stays: sofa and what you brushed over.", true]);
    await press(page, "Make 2 pictures");
    await becomes(page);
    await until(page, async (id) => (await (await caches.match("/studio/kept/rooms"))?.text())?.includes(id), jobOf(page));
    await page.close();

    // Another day, with the page opened anew: the room is found at once, and all that was wished for it.
    const later = await context.newPage();
    await later.goto(`${given.base}/studio`);
    await later.getByRole("region", { name: "Your last rooms" }).locator(".card").first().waitFor();
    assert.ok(await later.locator(".last .card img").evaluate((each) => each.decode().then(() => true)));
    await axe(later);
    await later.locator(".last .card").click();
    await becomes(later);
    await press(later, "Change style or wishes");
    await later.getByText("The photo and your wishes are here again.").waitFor();
    await later.getByAltText("The picture whose colours are wanted").waitFor();
    await later.getByLabel("Several styles").waitFor();
    assert.deepEqual(await wishes(later), wished);
    assert.ok(await later.getByRole("radio", { name: "Brush over" }).isChecked());
    await axe(later);

    // The page is loaded again before anything is sent.
    await later.getByLabel("Anything special?").fill("no plants at all");
    await later.reload();
    await later.getByAltText("Your photo").waitFor();
    await later.getByAltText("The picture whose colours are wanted").waitFor();
    await later.getByLabel("Several styles").waitFor();
    assert.deepEqual(await wishes(later), { ...wished, typed: ["no plants at all", ...wished.typed.slice(1)] });
    await later.getByLabel("Several styles").uncheck();
    await press(later, "Restyle this room");
    await becomes(later, "Your room in Boho");
    assert.deepEqual(await asPhotographed(later, SOFA, CEILING, WALL), [true, true, false]);
    const [after] = await colours(later, WALL);
    assert.ok(after[0] > 100 && after[2] < 60, `${after}`);
    await later.getByText("How it was made").click();
    const fact = (name) => later.locator("dl > div", { has: later.getByText(name, { exact: true }) }).locator("dd").innerText();
    assert.deepEqual([await fact("Style"), await fact("Your words")], ["Boho", "no plants at all"]);
    assert.equal((await fact("Colours")).trim(), "sage green");
    assert.match(await fact("Left as it was"), /^sofa and what you brushed over/);
    await axe(later);

    // Erased, nothing of it is here.
    const id = jobOf(later);
    const left = () => later.evaluate(async (of) => [
      ...Object.keys(localStorage),
      ...(await (await caches.open("reroom.kept")).keys()).map((each) => each.url),
    ].filter((each) => each.includes(of)), id);
    assert.ok((await left()).length > 2);
    await erases(later, "Erase this room", ["from the service, and from this browser"]);
    await later.getByText("This room is erased. Other rooms of the same photo stay.").waitFor();
    assert.deepEqual(await left(), []);
    await context.close();
    return complaints;
  },

  "back to a room of which not all is here": async () => {
    const { context, page, complaints } = await opened(browser, PHONE);
    await withSample(page, given.base);
    await page.getByText("More wishes").click();
    await page.getByRole("group", { name: "Colours of a picture" }).locator("input").setInputFiles(await red(page));
    await page.getByAltText("The picture whose colours are wanted").waitFor();
    await page.getByRole("radio", { name: "Boho" }).check();
    await press(page, "Restyle this room");
    await becomes(page);
    // As where a browser keeps no files.
    await page.evaluate(() => caches.delete("reroom.kept"));
    await page.reload();
    await becomes(page);
    await press(page, "Make another like this");
    await page.getByRole("alert").getByText("The picture for the colours is not on this device any more.").waitFor();
    const room = page.url();
    await press(page, "Change style or wishes");
    await page.getByText("But the picture for the colours is not on this device any more").waitFor();
    assert.ok(await page.getByRole("radio", { name: "Boho" }).isChecked());
    await axe(page);
    await page.evaluate(() => localStorage.clear());
    await page.goto(room);
    await page.reload();
    await becomes(page);
    await press(page, "Change style or wishes");
    await page.getByText("But this device does not know any more what you wished for").waitFor();
    assert.ok(await page.getByRole("radio", { name: "Boho" }).isChecked());
    await heading(page, "See your room").waitFor();
    await context.close();
    return complaints;
  },
});
