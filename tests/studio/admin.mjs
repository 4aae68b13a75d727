/**
 * The walks through /admin in a real browser: `node admin.mjs '{"chromium": …, "base": …, "token": …, "key": …, "running": …}'`,
 * over a service whose past tests/support/planted.py has planted. `key` is no administrator's. Prints as walk.mjs does.
 */
import assert from "node:assert/strict";
import { DESKTOP, PHONE, heading, launched, opened, taken } from "./browser.mjs";
import { axe, tabTo } from "./steps.mjs";

const given = JSON.parse(process.argv[2]);
const browser = await launched(given.chromium);
const VIEWS = {
  Overview: "19 of 20 within, today", Workers: "gpu-host-1, process 4711", Tritons: "127.0.0.1:", Releases: "offers no releases",
  Keys: "iPhone app", "Usage and cost": "By key", "Dead letters": "The denoiser's process ended", Failures: "structure_lost",
};

/** As `GET /admin/releases` says it, where there are releases. */
const RELEASES = {
  revision: 7, live: 5, previous: 4, withdrawn: [3], changed: new Date().toISOString(), by: "the administrator over the API", in_use: [5], hosts: [{ name: "gpu-1", live: 5, ready: [5, 6], loading: null, problems: { 3: "its denoiser does not load" } }],
  canary: { version: 6, mode: "share", share: 0.1, since: new Date().toISOString(), id: "c-1" },
  versions: [6, 5, 4, 3].map((version) => ({ version, release: `dollhouse-${version}`, state: "published", verified: true, in_use: version === 5, targets: [], budgets: {} })),
  trial: {
    id: "c-1", version: 6, live: 5, mode: "share", share: 0.1, since: new Date().toISOString(), running: true, decision: "running", reason: "", pairs: 40, made: { live: 360, canary: 40 }, failures: { model_error: 1 },
    findings: [{ name: "structure", title: "Structure of the room", what: "pairs", n: 40, value: 0.004, low: -0.006, high: 0.014, margin: 0.02, verdict: "not_worse", required: true }], report_url: "/admin/releases/canary/report",
  },
};

async function signIn(page, token = given.token) {
  await page.goto(`${given.base}/admin`);
  await page.getByLabel("Administrator’s key").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
}

const entry = (page, text) => page.locator(".entry", { hasText: text });
const press = (at, name) => at.getByRole("button", { name }).click();
const confirm = (page, name) => page.getByRole("dialog").getByRole("button", { name, exact: true }).click();

/** `looked`: the views that axe looks at; null: all. */
async function everyView(device, looked = null) {
  const { context, page, complaints } = await opened(browser, device);
  await signIn(page);
  for (const [view, shows] of Object.entries(VIEWS)) {
    await page.getByRole("navigation").getByRole("link", { name: view, exact: true }).click();
    await heading(page, view).waitFor();
    await page.getByText(shows).first().waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0, `${view} is wider than the screen`);
    if (looked === null || looked.includes(view)) await axe(page);
  }
  await context.close();
  return complaints;
}

await taken({
  "every view on a phone": () => everyView(PHONE),
  "every view on a desktop, in the dark": () => everyView({ ...DESKTOP, colorScheme: "dark" }, ["Overview", "Keys", "Failures"]),

  "a wrong key, and one of somebody else": async () => {
    const { context, page, complaints } = await opened(browser, PHONE, /Failed to load resource/);
    await signIn(page, "not the right token");
    await page.getByRole("alert").getByText("The key is not valid").waitFor();
    await axe(page);
    await signIn(page, given.key);
    await page.getByRole("alert").getByText("This key is no administrator’s").waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.length + localStorage.length), 0);
    await context.close();
    return complaints;
  },

  "a key's whole life, with the keyboard alone": async () => {
    const { context, page, complaints } = await opened(browser, DESKTOP);
    await page.goto(`${given.base}/admin#/keys`);
    await tabTo(page, "Administrator’s key");
    await page.keyboard.type(given.token);
    await page.keyboard.press("Enter");
    await heading(page, "Keys").waitFor();
    await entry(page, "iPhone app").waitFor();
    await tabTo(page, "Make a key");
    await page.keyboard.press("Enter");
    await tabTo(page, "Name");
    await page.keyboard.type("A new tablet");
    await tabTo(page, "Plan");
    await page.keyboard.press("p");
    await tabTo(page, "Make the key");
    await page.keyboard.press("Enter");
    const first = await page.getByRole("dialog").getByRole("textbox").inputValue();
    assert.match(first, /^rr_[0-9a-f]+_[0-9a-f]+$/);
    await axe(page);
    await page.keyboard.press("Escape");
    await page.keyboard.press("Escape");
    assert.equal(await page.getByRole("dialog").getByRole("textbox").inputValue(), first);
    await tabTo(page, "I have kept it");
    await page.keyboard.press("Enter");
    const made = entry(page, "A new tablet");
    await made.getByText("pro", { exact: true }).waitFor();
    assert.ok(!(await page.content()).includes(first));
    await tabTo(page, "New secret A new tablet");
    await page.keyboard.press("Enter");
    await confirm(page, "New secret");
    assert.notEqual(await page.getByRole("dialog").getByRole("textbox").inputValue(), first);
    await press(page.getByRole("dialog"), "I have kept it");
    await made.getByText("valid, two secrets").waitFor();
    await press(made, "Revoke");
    await confirm(page, "Cancel");
    await made.waitFor();
    await press(made, "Revoke");
    await confirm(page, "Revoke");
    await made.waitFor({ state: "detached" });
    await page.getByLabel("Also those that have ended").check();
    await made.getByText("revoked").waitFor();
    await context.close();
    return complaints;
  },

  "dead letters": async () => {
    const { context, page, complaints } = await opened(browser, PHONE, /Failed to load resource/);
    await signIn(page);
    await page.goto(`${given.base}/admin#/letters`);
    const letters = page.locator(".entry");
    await letters.nth(2).waitFor();
    const dropped = await letters.first().locator("dd code").textContent();
    await press(letters.first(), "Replay");
    await page.getByRole("alert").getByText("The job cannot wait again").waitFor();
    await axe(page);
    await press(letters.first(), "Drop");
    await confirm(page, "Drop");
    await page.getByText(`${dropped.slice(0, 8)} was dropped.`).waitFor();
    await letters.nth(2).waitFor({ state: "detached" });
    assert.equal(await letters.count(), 2);
    await press(page, "Replay all");
    await confirm(page, "Replay all of these");
    await page.getByText("0 of 2 jobs wait again.").waitFor();
    await context.close();
    return complaints;
  },

  "what happens is shown, and the focus stays": async () => {
    const { context, page, complaints } = await opened(browser, DESKTOP);
    await signIn(page);
    await page.getByRole("region", { name: "Running now" }).getByText(given.running.slice(0, 8)).waitFor();
    const figures = page.locator("summary", { hasText: "Figures" });
    await figures.focus();
    await page.keyboard.press("Enter");
    const asked = () => page.waitForResponse((answer) => answer.url().endsWith("/admin/levels"));
    await asked();
    await asked();
    assert.ok(await figures.evaluate((each) => each === document.activeElement && each.parentElement.open));
    await page.getByRole("switch", { name: "Live" }).uncheck();
    await press(page, "Sign out");
    await heading(page, "Administration").waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    await context.close();
    return complaints;
  },

  "releases": async () => {
    const { context, page, complaints } = await opened(browser, PHONE);
    let rollout = RELEASES;
    const asked = [];
    await page.route("**/admin/releases", (route) => route.fulfill({ json: { success: true, data: rollout } }));
    await page.route(/releases\/.+/, (route) => {
      asked.push([new URL(route.request().url()).pathname, route.request().postDataJSON()]);
      if (asked.length === 1) return route.fulfill({ status: 409, contentType: "application/problem+json", json: { code: "rollout_changed", detail: "revision 8 is there already" } });
      rollout = { ...RELEASES, live: 6, previous: 5, canary: null, trial: undefined };
      return route.fulfill({ json: { success: true, data: rollout } });
    });
    await signIn(page);
    await page.goto(`${given.base}/admin#/releases`);
    await page.getByText("Structure of the room").waitFor();
    await axe(page);
    await press(entry(page, "dollhouse-6"), "Go live");
    await confirm(page, "Go live");
    await page.getByRole("alert").getByText("Somebody else changed what is live").waitFor();
    await press(page, "End the trial of version 6");
    await confirm(page, "Take back");
    const tried = entry(page, "dollhouse-5");
    await tried.getByText("Try it on some jobs").click();
    await tried.getByLabel("Percent of the jobs").fill("25");
    const begun = page.waitForResponse(/5\/canary/);
    await press(tried, "Begin");
    await begun;
    assert.deepEqual(asked, [["/admin/releases/6/promote", {}], ["/admin/releases/rollback", {}], ["/admin/releases/5/canary", { mode: "shadow", share: 0.25 }]]);
    await context.close();
    return complaints.filter((each) => !each.includes("status of 409"));
  },

  "in German": async () => {
    const { context, page, complaints } = await opened(browser, { ...PHONE, locale: "de-DE" });
    await page.goto(`${given.base}/admin`);
    await page.getByLabel("Schlüssel der Verwaltung").fill(given.token);
    await page.getByRole("button", { name: "Anmelden" }).click();
    await heading(page, "Überblick").waitFor();
    await page.getByRole("link", { name: "Fehlschläge" }).click();
    await page.getByText("Das Bild bewahrte zu wenig vom Zimmer.").waitFor();
    await context.close();
    return complaints;
  },
}, given.only);
await browser.close();
