// Restyle one photo, follow the job over its WebSocket, save the picture. Nothing to install.
//
//     node examples/restyle.mjs room.jpg boho result.jpg
//
// The service is at REROOM_URL, else at http://localhost:8000; REROOM_API_KEY is the key to it, if it needs one.
// Needs Node 22 or newer; Node 20 has WebSocket behind the option --experimental-websocket.

import { openAsBlob } from "node:fs";
import { writeFile } from "node:fs/promises";

const service = process.env.REROOM_URL ?? "http://localhost:8000";
const key = process.env.REROOM_API_KEY;
const headers = key ? { "X-API-Key": key } : {};
const [photo, style, out] = process.argv.slice(2);

const form = new FormData();
form.set("file", await openAsBlob(photo), "room.jpg");
form.set("style", style);
form.set("preferences", JSON.stringify({ prompt: "sage green walls", seed: 7 }));
const job = await answer(await fetch(`${service}/transform/submit`, { method: "POST", headers, body: form }));

const result = await watch(`${job.websocket_url}?after=0${await ticket(job.job_id)}`);
const picture = await fetch(result.transformed_url);
await writeFile(out, Buffer.from(await picture.arrayBuffer()));
console.log(`saved ${out}`);

// What a WebSocket, which sends no headers here, shows in place of the key: it is good for one connection.
async function ticket(job_id) {
  if (!key) return "";
  const asked = { method: "POST", headers, body: JSON.stringify({ job_id }) };
  return `&ticket=${(await answer(await fetch(`${service}/tickets`, asked))).ticket}`;
}

// The body of an answer, or an exception with the problem's code and detail.
async function answer(response) {
  const body = await response.json();
  if (!response.ok) throw new Error(`${body.code}: ${body.detail}`);
  return body;
}

// The result of a job, once it is completed. A program for every day also connects again after a lost connection, with
// ?after= and the last seq that it saw.
function watch(url) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    socket.onclose = ({ code }) => reject(new Error(`the connection was closed with code ${code}`));
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      switch (message.type) {
        case "status":
          console.log(message.message);
          break;
        case "step":
          console.log(`step ${message.step} of ${message.of}`);
          break;
        case "completed":
          resolve(message.data.result);
          break;
        case "failed":
          reject(new Error(`${message.error.code}: ${message.error.detail}`));
          break;
        case "cancelled":
          reject(new Error("the job was cancelled"));
          break;
      }
    };
  });
}
