import { PHONE, launched, opened } from "./browser.mjs";
import fs from "node:fs";
const given = JSON.parse(fs.readFileSync("/tmp/h-pwa/given.json"));
const b = await launched(given.chromium);
const { context, page } = await opened(b, PHONE);
await page.goto(`${given.base}/studio`);
console.log(await page.waitForFunction(async () => false, null, { timeout: 1500 }).then(() => "passed", () => "waited"));
await b.close();
