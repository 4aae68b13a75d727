/** Walks with a photo that comes in other ways than the sample room. */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import { DESKTOP, PHONE, opened } from "../browser.mjs";
import { axe, becomes, colours, press } from "../steps.mjs";

const photo = (page) => page.getByAltText("Your photo");

/** Lets the page get a file as by `paste` or `drop`, for which a test has no hands. */
async function given(page, type) {
  await page.evaluate(async (kind) => {
    const canvas = new OffscreenCanvas(640, 480);
    canvas.getContext("2d").fillRect(0, 0, 640, 480);
    const files = new DataTransfer();
    files.items.add(new File([await canvas.convertToBlob()], "a.png", { type: "image/png" }));
    const target = document.querySelector("form");
    if (kind === "paste") dispatchEvent(new ClipboardEvent("paste", { clipboardData: files }));
    else for (const each of ["dragover", "drop"]) target.dispatchEvent(new DragEvent(each, { dataTransfer: files, bubbles: true, cancelable: true }));
  }, type);
  await photo(page).waitFor();
}

/** A red picture's bytes. */
const red = async (page) =>
  Buffer.from(await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(320, 240);
    const pen = canvas.getContext("2d");
    pen.fillStyle = "#f00";
    pen.fillRect(0, 0, 320, 240);
    return [...new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer())];
  }));

export const taking = (browser, { base, heic }) => ({
  "with a photo that is dropped, pasted or taken": async () => {
    const others = [];
    for (const type of ["drop", "paste"]) {
      const { context, page, complaints } = await opened(browser, PHONE);
      await page.goto(`${base}/studio`);
      await page.getByText("Start with a photo").waitFor();
      await given(page, type);
      // One's own picture that is dragged, and a picture that comes with text, are none that are given.
      await page.evaluate((own) => {
        const files = new DataTransfer();
        files.items.add(new File(["no picture"], "a.png", { type: "image/png" }));
        const drags = (target, kinds) => kinds.forEach((each) => target.dispatchEvent(new DragEvent(each, { dataTransfer: files, bubbles: true, cancelable: true })));
        drags(document.querySelector(own), ["dragstart", "dragover", "drop", "dragend"]);
        files.items.add("what is written", "text/plain");
        document.querySelector("textarea").dispatchEvent(new ClipboardEvent("paste", { clipboardData: files, bubbles: true }));
      }, ".style img, .style");
      assert.equal(await page.getByRole("alert").count(), 0);
      assert.equal(await photo(page).getAttribute("draggable"), "false");
      // The page that is loaded again has it still.
      await page.reload();
      await photo(page).waitFor();
      await context.close();
      others.push(...complaints);
    }
    const { context, page, complaints } = await opened(browser, PHONE);
    await page.goto(`${base}/studio`);
    const taken = page.waitForEvent("filechooser");
    await page.getByText("Take a photo").click();
    const chooser = await taken;
    await chooser.setFiles({ name: "a.webp", mimeType: "image/webp", buffer: await fs.readFile(new URL("../../../orchestrator/studio/room.webp", import.meta.url)) });
    await photo(page).waitFor();
    await page.getByText("More wishes").click();
    await page.getByRole("group", { name: "Colours of a picture" }).locator("input").setInputFiles({ name: "red.png", mimeType: "image/png", buffer: await red(page) });
    await page.getByAltText("The picture whose colours are wanted").waitFor();
    await press(page, "Restyle this room");
    await becomes(page);
    const [after] = await colours(page, [0.3, 0.12]);
    assert.ok(after[0] > 150 && after[2] < 60, `${after}`);
    await context.close();
    return [...others, ...complaints];
  },

  "with a photo that only the service can read": async () => {
    const { context, page, complaints } = await opened(browser, DESKTOP);
    await page.goto(`${base}/studio`);
    let look;
    const looks = new Promise((go) => (look = go));
    await page.route("**/analyze", async (route) => {
      await looks;
      await route.continue();
    });
    await page.locator("input[type=file]").first().setInputFiles(heic);
    await page.getByText("This browser cannot show this photo.").waitFor();
    await axe(page);
    look();
    // The models have seen it: its outlines, and what is in it.
    await photo(page).waitFor();
    await press(page, "sofa");
    await press(page, "Restyle this room");
    await becomes(page);
    await context.close();
    return complaints;
  },
});
