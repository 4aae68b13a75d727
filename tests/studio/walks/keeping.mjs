/** Walks on which something of the room stays: things that are tapped, and what is painted. */
import assert from "node:assert/strict";
import { DESKTOP, PHONE, opened } from "../browser.mjs";
import { asPhotographed, axe, becomes, press, withSample } from "../steps.mjs";

/** In the middle of things of the sample room. */
const SOFA = [0.7, 0.9];
const PICTURE = [0.73, 0.38];
const SHELF = [0.4, 0.5];
const WALL = [0.6, 0.3];
const CEILING = [0.3, 0.12];

const tool = (page, name) => page.getByRole("radio", { name, exact: true }).check();
const thing = (page, name) => page.locator(".names").getByRole("button", { name });
const box = (page, name) => page.locator(".thing", { hasText: name });
const said = (page, text) => page.locator(".said", { hasText: text }).waitFor();
/** The share of the photo that is painted. */
const strokes = (page) => page.locator(".brush canvas").evaluate((each) => {
  const copy = new OffscreenCanvas(each.width, each.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(each, 0, 0);
  const { data } = copy.getImageData(0, 0, each.width, each.height);
  return data.filter((value, at) => at % 4 === 3 && value > 127).length / (each.width * each.height);
});

/** A finger over the photo, from one place of it to another. */
async function finger(page, ...places) {
  const at = await page.locator(".canvas").boundingBox();
  const session = await page.context().newCDPSession(page);
  const touch = (type, points) => session.send("Input.dispatchTouchEvent", { type, touchPoints: points });
  const points = places.map(([x, y]) => ({ x: at.x + x * at.width, y: at.y + y * at.height }));
  await touch("touchStart", points.slice(0, 1));
  for (const point of points.slice(1)) await touch("touchMove", [point]);
  await touch("touchEnd", []);
}

async function mouse(page, ...places) {
  const at = await page.locator(".canvas").boundingBox();
  const [first, ...rest] = places.map(([x, y]) => [at.x + x * at.width, at.y + y * at.height]);
  await page.mouse.move(...first);
  await page.mouse.down();
  for (const point of rest) await page.mouse.move(...point, { steps: 4 });
  await page.mouse.up();
}

export const keeping = (browser, given) => ({
  "where tapped things stay": async () => {
    const { context, page, complaints } = await opened(browser, DESKTOP, /Failed to load resource/);
    await page.route("**/analyze", (route) =>
      route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ code: "model_unavailable", detail: "away" }) }),
    );
    await withSample(page, given.base);
    await page.getByText("What is in the photo could not be found out.").waitFor();
    await page.unroute("**/analyze");
    await press(page, "Try again");
    await thing(page, "sofa").waitFor();
    await axe(page);
    // A cushion lies on it: its edge is free.
    await box(page, "sofa").click({ position: { x: 8, y: 60 } });
    await said(page, "Stays: sofa.");
    await press(page, "3 more");
    await thing(page, "picture 2").focus();
    await page.keyboard.press("Space");
    await said(page, "Stays: sofa and picture 2.");
    assert.equal(await thing(page, /^picture 2.*stays$/).getAttribute("aria-pressed"), "true");
    await axe(page);
    await press(page, "Restyle this room");
    await becomes(page);
    assert.deepEqual(await asPhotographed(page, SOFA, PICTURE, SHELF, WALL), [true, true, false, false]);

    // Marks stay with the photo, to be changed.
    await press(page, "Change style or wishes");
    await said(page, "Stays: sofa and picture 2.");
    await press(page, "Start over");
    await tool(page, "Change only");
    await box(page, "shelf").click();
    await said(page, "Changes alone: shelf.");
    await press(page, "Restyle this room");
    await becomes(page);
    assert.deepEqual(await asPhotographed(page, SOFA, PICTURE, SHELF, WALL), [true, true, false, true]);
    await context.close();
    return complaints;
  },

  "where what is painted stays": async () => {
    const { context, page, complaints } = await opened(browser, PHONE);
    await withSample(page, given.base);
    await tool(page, "Brush over");
    await page.getByLabel("Size of the brush").fill("0.1");
    await finger(page, [0.2, 0.3], [0.4, 0.3], [0.6, 0.3]);
    await said(page, "Stays: what you brushed over.");
    assert.equal(await page.evaluate(() => scrollY), 0);
    const painted = await strokes(page);
    assert.ok(painted > 0.03, `${painted}`);
    await axe(page);
    await press(page, "Undo");
    assert.equal(await strokes(page), 0);
    await mouse(page, [0.2, 0.12], [0.75, 0.12]);
    await mouse(page, [0.6, 0.3], [0.62, 0.3]);
    await press(page, "Eraser");
    await mouse(page, [0.6, 0.3], [0.63, 0.3]);
    const rubbed = await strokes(page);
    await page.keyboard.press("Control+z");
    assert.ok((await strokes(page)) > rubbed);
    await mouse(page, [0.59, 0.3], [0.63, 0.3]);
    await press(page, "Restyle this room");
    await becomes(page);
    const first = page.url();
    assert.deepEqual(await asPhotographed(page, CEILING, WALL, SOFA), [true, false, false]);
    // Another one keeps the same, in another visit too.
    await page.reload();
    await becomes(page);
    await press(page, "Make another like this");
    await page.waitForURL((url) => url.href !== first);
    await becomes(page);
    assert.deepEqual(await asPhotographed(page, CEILING, WALL, SOFA), [true, false, false]);
    await context.close();
    return complaints;
  },

  "where nothing was found": async () => {
    const { context, page, complaints } = await opened(browser, PHONE);
    await withSample(page, given.base);
    await thing(page, "shelf").click();
    await said(page, "Stays: shelf.");
    const at = await page.locator(".canvas").boundingBox();
    const tap = ([x, y]) => page.touchscreen.tap(at.x + x * at.width, at.y + y * at.height);
    await tap(WALL);
    await page.getByText("Nothing was found here.").waitFor();
    await axe(page);
    await press(page, "Brush over it instead");
    await said(page, "Stays: shelf and what you brushed over.");
    assert.ok((await strokes(page)) > 0);
    // What was tapped is still to be seen, and cannot be tapped.
    assert.ok(await box(page, "shelf").isDisabled());
    assert.equal(await page.locator(".thing").count(), 1);
    await press(page, "Restyle this room");
    await becomes(page);
    assert.deepEqual(await asPhotographed(page, SHELF, WALL, SOFA), [true, true, false]);
    await context.close();
    return complaints;
  },
});
