/**
 * Pictures of every view, for the docs: `node pictures.mjs '{"chromium": …, "base": …, "out": …}'`, of a service that is open,
 * such as that of `make up`. docs/studio.py starts one, and makes small files of them.
 */
import { DESKTOP, PHONE, heading, launched, opened } from "./browser.mjs";

const given = JSON.parse(process.argv[2]);
const browser = await launched(given.chromium);

async function pictures(name, device, style) {
  const { context, page } = await opened(browser, device);
  const shot = (view, options = {}) => page.screenshot({ path: `${given.out}/${name}-${view}.png`, animations: "disabled", ...options });
  const loaded = () => page.waitForFunction(() => [...document.images].every((each) => each.complete && each.naturalWidth));
  await page.goto(`${given.base}/studio`);
  await page.getByRole("radio").first().waitFor();
  await loaded();
  await shot("start");
  await page.getByRole("button", { name: /sample room/ }).click();
  await page.getByAltText("Your photo").waitFor();
  await page.getByRole("button", { name: /Show all/ }).click();
  await page.getByRole("radio", { name: style, exact: true }).check();
  await page.getByText("More wishes").click();
  await page.getByRole("checkbox", { name: "sage green" }).check();
  await page.getByLabel("Anything special?").fill("a lot of plants");
  if (given.seed) await page.getByLabel("Seed").fill(given.seed);
  await shot("wishes", { fullPage: true });
  await page.getByRole("button", { name: "Restyle this room" }).click();
  // Small models are done before a picture of their work can be taken.
  await page.getByRole("img", { name: "The picture so far" }).or(page.locator("h1", { hasText: "Your room in" })).first().waitFor();
  if (await page.getByRole("progressbar").isVisible()) await shot("becoming");
  await heading(page, /Your room in/).waitFor();
  await loaded();
  await page.getByRole("button", { name: "Favourite" }).click();
  await page.getByRole("button", { name: "Favourite", pressed: true }).waitFor();
  await page.evaluate(() => scrollTo(0, 0));
  await shot("result");
  await page.getByRole("button", { name: "Erase" }).click();
  await page.getByRole("dialog").waitFor();
  await shot("erase");
  await page.getByRole("button", { name: "Keep it" }).click();
  await page.getByRole("link", { name: "Your rooms" }).click();
  await page.locator(".card img").first().waitFor();
  await loaded();
  await shot("rooms");
  await page.getByRole("link", { name: "New room" }).click();
  await page.locator("input[type=file]").first().setInputFiles({ name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("a note") });
  await page.getByRole("alert").waitFor();
  await page.getByRole("alert").scrollIntoViewIfNeeded();
  await shot("problem");
  await context.close();
}

await pictures("phone", PHONE, "Scandinavian");
await pictures("desktop", DESKTOP, "Scandinavian");
await pictures("dark", { ...DESKTOP, colorScheme: "dark" }, "Japandi");
await browser.close();
