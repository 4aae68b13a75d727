/**
 * Pictures of every view of /admin, for the docs: `node admin-pictures.mjs '{"chromium": …, "base": …, "token": …, "out": …}'`, of a
 * service that is open and has workers. docs/admin.py starts one, plants its past, and makes small files of them.
 */
import { readFile } from "node:fs/promises";
import { PHONE, heading, launched, opened } from "./browser.mjs";

const given = JSON.parse(process.argv[2]);
const browser = await launched(given.chromium);
const VIEWS = ["", "workers", "tritons", "releases", "keys", "usage", "letters", "failures"];
const STYLES = ["scandinavian", "modern", "boho", "japandi"];
const JOBS = 24;
/** Until the load of the Tritons is measured. */
const MEASURED = 4500;

/** Work, so that there is something to see. */
async function busy() {
  const room = await readFile(new URL("../../orchestrator/studio/room.webp", import.meta.url));
  const sent = Array.from({ length: JOBS }, async (_, number) => {
    const form = new FormData();
    form.append("file", new Blob([room]), "room.webp");
    form.append("style", STYLES[number % STYLES.length]);
    form.append("preferences", JSON.stringify({ quality: ["draft", "best", "standard"][number % 3] }));
    const answer = await fetch(`${given.base}/transform/submit`, { method: "POST", body: form });
    if (!answer.ok) throw new Error(await answer.text());
  });
  await Promise.all(sent);
}

const TALL = { viewport: { width: 1280, height: 1000 } };
for (const [name, device] of [["phone", PHONE], ["desktop", TALL], ["dark", { ...TALL, colorScheme: "dark" }]]) {
  const { context, page } = await opened(browser, device);
  const shot = (view) => page.screenshot({ path: `${given.out}/${name}-${view}.png`, animations: "disabled" });
  await page.goto(`${given.base}/admin`);
  await shot("signin");
  await page.getByLabel("Administrator’s key").fill(given.token);
  await page.getByRole("button", { name: "Sign in" }).click();
  for (const view of VIEWS) {
    if (["", "workers", "tritons"].includes(view)) await busy();
    await page.goto(`${given.base}/admin#/${view}`);
    await heading(page, /./).waitFor();
    if (view === "tritons") await page.waitForTimeout(MEASURED);
    await page.waitForFunction(() => !document.querySelector("main [role=status]")?.textContent.includes("…"));
    await page.waitForTimeout(300);
    await shot(view || "overview");
  }
  await context.close();
}
await browser.close();
