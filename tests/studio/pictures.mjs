/**
 * Pictures of every view, for the docs: `node pictures.mjs '{"chromium": …, "base": …, "out": …}'`, of a service that is open,
 * such as that of `make up`. docs/studio.py starts one, and makes small files of them.
 */
import { DESKTOP, PHONE, launched, opened } from "./browser.mjs";
import { everyView } from "./views.mjs";

const given = JSON.parse(process.argv[2]);
const browser = await launched(given.chromium);
/** Longer than a screen. */
const WHOLE = new Set(["several", "made", "shared"]);
/** In the dark. */
const DARK = new Set(["start", "keep", "result", "shared"]);

for (const [name, device, style] of [
  ["phone", PHONE, "Scandinavian"],
  ["phone-dark", { ...PHONE, colorScheme: "dark" }, "Japandi"],
  ["desktop", DESKTOP, "Scandinavian"],
  ["desktop-dark", { ...DESKTOP, colorScheme: "dark" }, "Japandi"],
].filter(([each]) => (given.only ?? each) === each)) {
  const { context, page } = await opened(browser, device, /net::ERR_INTERNET_DISCONNECTED/);
  const at = async (view) => {
    if (device.colorScheme === "dark" && !DARK.has(view)) return;
    await page.screenshot({ path: `${given.out}/${name}-${view}.png`, animations: "disabled", fullPage: WHOLE.has(view) });
  };
  await everyView(page, given.base, at, style);
  await context.close();
}
await browser.close();
