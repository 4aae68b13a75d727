// The client in Node, on a real service that tests/integration/test_typescript_package.py starts and names in SETUP.

import test from "node:test";
import * as reroom from "reroom";
import { scenarios } from "./scenarios.mjs";

const setup = JSON.parse(process.env.SETUP);
const cut = () => fetch(setup.cut);

for (const over of ["websocket", "http"]) {
  for (const [name, scenario] of Object.entries(scenarios)) {
    test(`${name} over ${over}`, { timeout: 60_000 }, () => scenario(reroom, { ...setup, over, cut }));
  }
}
