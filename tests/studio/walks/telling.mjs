/** What a screen reader is told of every view: trees.txt. After a change that is meant, `STUDIO_TREES=write` writes it anew. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { PHONE, opened } from "../browser.mjs";
import { everyView } from "../views.mjs";

const FILE = new URL("../trees.txt", import.meta.url);
/** It is over too soon to be sure of it; the walks on a phone and a desktop look at it. */
const PASSING = "becoming";
/** Where what is round the view is looked at too. */
const WITH_FRAME = new Set(["start", "offline"]);
/** What differs each time, and what is no more than the name of what follows it. */
const tidy = (tree) =>
  tree
    .split("\n")
    .filter((line) => !/^ *- (\/url|text|\/placeholder):/.test(line))
    .map((line) => line.replace(/(Today|Yesterday), \d\d:\d\d/g, "DATE").replace(/https?:\S+/g, "LINK").replace(/\b\d+ s$/, "TIME"))
    .map((line) => line.replace(/\b\d{1,2} [A-Z][a-z]{2,8}( \d{4})?\b/g, "DAY").replace(/\b[0-9a-f]{32}\b/g, "ID"))
    .join("\n");

export const telling = (browser, given) => ({
  "as a screen reader tells it": async () => {
    const { context, page, complaints } = await opened(browser, PHONE, /net::ERR_INTERNET_DISCONNECTED/);
    const found = {};
    await everyView(page, given.base, async (view) => {
      if (view !== PASSING) found[view] = tidy(await page.locator(WITH_FRAME.has(view) ? "#studio" : "main").ariaSnapshot());
    });
    const told = Object.entries(found).map(([view, tree]) => `# ${view}\n${tree}\n`).join("\n");
    if (process.env.STUDIO_TREES === "write") writeFileSync(FILE, told);
    assert.equal(told, readFileSync(FILE, "utf8"));
    await context.close();
    return complaints;
  },
});
