/**
 * The icons of the page as pixels, from icon.svg: `node icons.mjs '{"chromium": …, "svg": …, "out": …}'`. docs/studio.py starts it.
 */
import { readFileSync } from "node:fs";
import { launched } from "./browser.mjs";

const given = JSON.parse(process.argv[2]);
const round = readFileSync(given.svg, "utf8");
/** To the corners, where a system cuts its own shape. */
const square = round.replace(/(<rect[^>]*) rx="\d+"/, "$1");
/** What matters lies within 4/5 of it. */
const maskable = square.replace(/(<rect[^>]*\/>)(.*)(<\/svg>)/s, '$1<g transform="translate(3.2 3.2) scale(.8)">$2</g>$3');

const browser = await launched(given.chromium);
for (const [name, size, svg] of [["180", 180, square], ["192", 192, round], ["512", 512, round], ["maskable", 512, maskable]]) {
  const page = await browser.newPage({ viewport: { width: size, height: size } });
  await page.setContent(`<style>body { margin: 0 } svg { display: block; width: 100vw; height: 100vh }</style>${svg}`);
  await page.screenshot({ path: `${given.out}/${name}.png`, omitBackground: true });
  await page.close();
}
await browser.close();
