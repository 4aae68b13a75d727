// The same in Chromium, in a page of another origin than the service's, which gets the package as npm packs it.

import test from "node:test";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { chromium } from "playwright-core";
import { scenarios } from "./scenarios.mjs";

const setup = JSON.parse(process.env.SETUP);
const folder = new URL("../", import.meta.url);

async function serve(request, response) {
  try {
    const script = /^\/(?:dist|tests)\/\w+\.m?js$/.test(request.url);
    const body = script ? await readFile(new URL(`.${request.url}`, folder)) : "<!doctype html><title>rooms</title>";
    response.writeHead(200, { "Content-Type": script ? "text/javascript" : "text/html" }).end(body);
  } catch {
    response.writeHead(404).end();
  }
}

test("in Chromium", { timeout: 120_000 }, async (context) => {
  const server = createServer(serve);
  await new Promise((resolve) => server.listen(setup.port, "127.0.0.1", resolve));
  // As root, which tests in containers are, Chromium's own sandbox does not start.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  const browser = await chromium.launch({ executablePath: setup.chromium, args });
  try {
    const page = await browser.newPage();
    await page.exposeFunction("cut", async () => void (await fetch(setup.cut)));
    await page.goto(`http://127.0.0.1:${setup.port}/`);
    for (const name of Object.keys(scenarios)) {
      await context.test(name, () =>
        page.evaluate(
          async ([name, setup]) => {
            const [reroom, { scenarios }] = await Promise.all([import("/dist/index.js"), import("/tests/scenarios.mjs")]);
            // `over` is left out: the client takes the WebSocket, with a ticket, since a page can send no key with it.
            await scenarios[name](reroom, { ...setup, cut: () => window.cut() });
          },
          [name, setup],
        ),
      );
    }
    await context.test("server-sent events", () =>
      page.evaluate(async (setup) => {
        const [reroom, { scenarios }] = await Promise.all([import("/dist/index.js"), import("/tests/scenarios.mjs")]);
        await scenarios.cut(reroom, { ...setup, over: "http", cut: () => window.cut() });
      }, setup),
    );
    await context.test("with tickets of another server, and no key", () =>
      page.evaluate(async (setup) => {
        const { Client } = await import("/dist/index.js");
        const owner = new Client(setup.url, { apiKey: setup.key });
        const photo = Uint8Array.from(atob(setup.photo), (character) => character.charCodeAt(0));
        const job = await owner.submit(photo, { preferences: { seed: setup.seeds.completes } });
        const ticket = async (id) => (await owner.ticket(id)).ticket;
        for (const over of ["websocket", "http"]) {
          const types = [];
          for await (const event of new Client(setup.url, { ticket }).events(job, { after: "0", over })) types.push(event.type);
          if (types.at(-1) !== "completed") throw new Error(`${over}: ${types}`);
        }
      }, setup),
    );
  } finally {
    await browser.close();
    server.close();
    server.closeAllConnections();
  }
});
