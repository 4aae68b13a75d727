/** Every view of the page, one after the other: for its pictures (pictures.mjs) and its figures (measure.mjs). */
import { heading, until } from "./browser.mjs";

const AT_ONCE_PATIENCE = 120000;
/** A place of the sample room's where nothing is, [x, y] in 0..1. */
const BESIDE = [0.57, 0.28];
const press = (page, name) => page.getByRole("button", { name }).click();
const loaded = (page) => page.waitForFunction(() => [...document.images].every((each) => each.complete && each.naturalWidth));

/**
 * Goes through them all, of a service that is open and has real models, and awaits `at(name)` in each: a short name, in lower
 * case. `style` is a title.
 */
export async function everyView(page, base, at, style = "Scandinavian") {
  page.setDefaultTimeout(AT_ONCE_PATIENCE);
  await page.goto(`${base}/studio`);
  await page.locator("input[name=style]").first().waitFor();
  await loaded(page);
  await at("start");
  await press(page, /sample room/);
  await page.getByAltText("Your photo").waitFor();
  const sofa = page.locator(".names").getByRole("button", { name: /sofa/ }).first();
  await sofa.waitFor();
  await sofa.click();
  await page.locator(".said", { hasText: "sofa" }).waitFor();
  await page.evaluate(() => scrollTo(0, 0));
  await at("keep");
  const { x, y, width, height } = await page.locator(".canvas").boundingBox();
  await page.mouse.click(x + BESIDE[0] * width, y + BESIDE[1] * height);
  await page.getByText("Nothing was found here.").waitFor();
  await at("beside");
  await press(page, /Show all/);
  await page.getByRole("radio", { name: style, exact: true }).check();
  await page.getByText("More wishes").click();
  await page.getByRole("checkbox", { name: "sage green" }).check();
  await page.getByLabel("Anything special?").fill("a lot of plants");
  await loaded(page);
  await page.getByLabel("Anything special?").evaluate((each) => each.closest(".field").scrollIntoView());
  await at("wishes");
  await press(page, "Restyle this room");
  // Small models are done before a look at their work can be taken.
  await page.getByRole("img", { name: "The picture so far" }).or(page.locator("h1", { hasText: "Your room in" })).first().waitFor();
  if (await page.getByRole("progressbar").isVisible()) await at("becoming");
  await heading(page, /Your room in/).waitFor();
  await loaded(page);
  await press(page, "Favourite");
  await page.getByRole("button", { name: "Favourite", pressed: true }).waitFor();
  await page.evaluate(() => scrollTo(0, 0));
  await at("result");
  for (const [name, button, leave] of [["share", "Share", "Close"], ["erase", "Erase this room …", "Keep it"]]) {
    await page.getByRole("button", { name: button, exact: true }).click();
    await page.getByRole("dialog").waitFor();
    await at(name);
    await page.getByRole("dialog").getByRole("button", { name: leave }).click();
  }
  const single = page.url();
  await page.getByText("How it was made").click();
  await page.getByText("How it was made").scrollIntoViewIfNeeded();
  await at("made");
  await press(page, "Change style or wishes");
  await page.getByText("The photo and your wishes are here again.").waitFor();
  await page.locator("input[name=style]").first().waitFor();
  await loaded(page);
  await at("back");

  await page.getByRole("link", { name: "New room" }).click();
  await page.getByLabel("Several styles").check();
  await page.getByRole("checkbox", { name: "Boho", exact: true }).check();
  await page.getByRole("checkbox", { name: "Industrial", exact: true }).check();
  await press(page, /^Make \d pictures/);
  await heading(page, /^Your room in \d pictures/).waitFor();
  await loaded(page);
  await page.evaluate(() => scrollTo(0, 0));
  await at("several");
  await page.getByRole("link", { name: "Your rooms" }).click();
  await page.locator(".card img").nth(1).waitFor();
  await loaded(page);
  await at("rooms");

  await page.getByRole("link", { name: "New room" }).click();
  await page.locator("input[type=file]").first().setInputFiles({ name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("a note") });
  await page.getByRole("alert").waitFor();
  await page.getByRole("alert").scrollIntoViewIfNeeded();
  await at("problem");
  await page.goto(`${base}/studio#/room/${"f".repeat(32)}`);
  await page.getByText("This room is not there any more").waitFor();
  await at("gone");
  const { data } = await (await fetch(`${base}/transform/status/${single.split("/").pop()}`)).json();
  await page.goto(data.result.page_url);
  await loaded(page);
  await at("shared");
  await page.goto(single);
  await heading(page, /Your room in/).waitFor();
  await until(page, async (id) => (await caches.match(`/studio/kept/rooms/${id}/after`)) !== undefined, single.split("/").pop());
  await page.context().setOffline(true);
  await page.reload();
  await page.getByText("The service is out of reach.").waitFor();
  await loaded(page);
  await at("offline");
  await page.context().setOffline(false);
  // A visit on another day.
  await page.getByText("The service is out of reach.").waitFor({ state: "detached" });
  await page.evaluate(() => sessionStorage.clear());
  await page.goto(`${base}/studio`);
  await page.locator(".last img").first().waitFor();
  await loaded(page);
  await at("last");
}

/** The same of the administrators' page. */
export async function everyAdminView(page, base, token, at) {
  await page.goto(`${base}/admin`);
  await heading(page, /./).waitFor();
  await at("admin sign-in");
  await page.getByLabel("Administrator’s key").fill(token);
  await press(page, "Sign in");
  await page.locator("nav a").first().waitFor();
  for (const link of await page.locator("nav a").evaluateAll((all) => all.map((each) => each.hash))) {
    await page.evaluate((hash) => (location.hash = hash), link);
    await heading(page, /./).waitFor();
    await page.waitForFunction(() => !document.querySelector("main [role=status]")?.textContent.includes("…"));
    await at(`admin ${link.replace(/\W/g, "") || "overview"}`);
  }
}
