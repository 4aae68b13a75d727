// What a healthy service never does: faults, a newer service, other origins, and a platform that lacks what Node has.

import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import * as reroom from "reroom";
import { readPhoto, savePicture } from "reroom/node";

const { Client } = reroom;
const PHOTO = new Uint8Array([0xff, 0xd8, 0xff]);
const QUICK = { attempts: 4, base: 0.01, watchSeconds: 0 };

/** A service that answers with these functions in their order, the last one again and again; its requests are kept. */
async function service(context, ...answers) {
  const requests = [];
  const server = createServer(async (request, response) => {
    const body = [];
    for await (const chunk of request) body.push(chunk);
    requests.push({ method: request.method, url: request.url, headers: request.headers, body: Buffer.concat(body).toString("latin1") });
    answers[Math.min(requests.length, answers.length) - 1](response, request);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

const json = (status, body, headers = {}) => (response) =>
  response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(body));
const problem = (status, code, headers) => json(status, { status, code, title: "t", detail: `about ${code}`, field: "f" }, headers);
const lost = (response) => response.socket.destroy();
const SUBMITTED = { success: true, job_id: "j", estimated_time: 5, websocket_url: "", status_url: "" };
const status = (state, more = {}) => ({ job_id: "j", status: state, progress: 0.5, error: null, invented_later: [1], ...more });
const data = (state, more) => ({ success: true, data: status(state, more) });
const stream = (...messages) => (response) => {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  for (const message of messages) response.write(`: a comment\r\nevent: ${message.type}\r\nid: ${message.seq}\r\ndata: ${JSON.stringify(message)}\r\n\r\n`);
  response.end();
};

test("a submission is sent again under the same key, until it is answered", async (context) => {
  const { url, requests } = await service(
    context, lost, problem(503, "unavailable", { "Retry-After": "0" }), problem(409, "idempotency_key_in_use"), json(202, SUBMITTED),
  );
  const job = await new Client(url, { retry: QUICK }).submit(PHOTO, { preferences: { seed: 7 } });
  assert.deepEqual(job, { job_id: "j", estimated_time: 5, job: null, children: [] });
  assert.equal(requests.length, 4);
  assert.equal(new Set(requests.map(({ headers }) => headers["idempotency-key"])).size, 1);
  assert.match(requests[3].body, /name="file"; filename="photo"[^]*\u00ff\u00d8\u00ff/);
});

test("what cannot pass is not sent again", async (context) => {
  for (const [answer, kind, more] of [
    [problem(422, "invalid_request"), reroom.InvalidRequest, { status: 422, detail: "about invalid_request", field: "f", retryAfter: null }],
    [problem(429, "too_many_requests", { "Retry-After": "7" }), reroom.RateLimited, { retryAfter: 7 }],
    [problem(402, "budget_exhausted"), reroom.RateLimited, {}],
    [problem(503, "queue_full", { "Retry-After": "60" }), reroom.ServerError, { code: "queue_full", retryAfter: 60 }],
    [problem(418, "teapot"), reroom.ApiError, { name: "ApiError" }],
    [(response) => response.writeHead(500).end("<h1>no"), reroom.ServerError, { code: "http_500" }],
    [(response) => response.end("<h1>another server"), reroom.ProtocolError, {}],
    [(response) => response.writeHead(307, { Location: "http://127.0.0.1:1/" }).end(), reroom.ApiError, { code: "redirected" }],
  ]) {
    const { url, requests } = await service(context, answer);
    await assert.rejects(new Client(url, { retry: QUICK, apiKey: "rr_a" }).submit(PHOTO), (error) => {
      assert.ok(error instanceof kind && error instanceof reroom.ReroomError, String(error));
      for (const [name, value] of Object.entries(more)) assert.equal(error[name], value);
      return true;
    });
    assert.equal(requests.length, 1);
  }
});

test("a service that cannot be reached, or says nothing", async (context) => {
  const { url, requests } = await service(context, () => undefined);
  await assert.rejects(new Client(url, { timeoutSeconds: 0.1 }).status("j"), reroom.Timeout);
  assert.equal(requests.length, 1);
  const closed = createServer();
  await new Promise((resolve) => closed.listen(0, "127.0.0.1", resolve));
  const { port } = closed.address();
  await new Promise((resolve) => closed.close(resolve));
  const gone = new Client(`http://127.0.0.1:${port}`, { retry: QUICK });
  await assert.rejects(gone.health(), { name: "ConnectionFailed", message: /ECONNREFUSED/ });
  await assert.rejects(gone.wait("j", { over: "http" }), { name: "ConnectionFailed", message: /lost the events of job j/ });
  await assert.rejects(gone.wait("j", { over: "websocket" }), reroom.ReroomError);
});

test("the key goes to the service alone", async (context) => {
  const storage = await service(context, (response) => response.writeHead(200, { "Content-Type": "image/jpeg" }).end(PHOTO));
  const result = { transformed_url: `${storage.url}/result.jpg`, thumbnail_url: "/files/thumbnail.jpg" };
  const { url, requests } = await service(context, json(200, data("completed", { result })));
  const client = new Client(`${url}/`, { apiKey: " rr_secret " });
  assert.deepEqual(new Uint8Array(await (await client.download("a/b?c")).arrayBuffer()), PHOTO);
  await client.download("j", { which: "thumbnail" });
  assert.equal(requests[0].url, "/transform/status/a%2Fb%3Fc");
  assert.equal(requests[2].url, "/files/thumbnail.jpg");
  assert.deepEqual(requests.map(({ headers }) => headers.authorization), Array(3).fill("Bearer rr_secret"));
  assert.equal(storage.requests.length, 1);
  assert.equal(storage.requests[0].headers.authorization, undefined);
});

test("where a key would go", async () => {
  const asked = [];
  const fetch = async (url, { headers }) => {
    asked.push([url, headers.Authorization]);
    return new Response(JSON.stringify(data("completed", { result: { transformed_url: asked.length % 2 ? next : "" } })));
  };
  const client = new Client("https://Rooms.example:443/api/", { apiKey: "rr_a", fetch });
  let next = "";
  for (const [url, goes] of [
    ["https://rooms.example/files/x", true], ["HTTPS://ROOMS.EXAMPLE:443/x", true], ["/files/x", true],
    ["http://rooms.example/x", false], ["https://rooms.example:8443/x", false], ["https://rooms.example.evil/x", false],
    ["https://rooms.example@evil/x", false], ["https://rooms.example\\@evil/x", true], ["https://evil\\@rooms.example/x", false],
    ["//evil/x", false], ["https://evil?@rooms.example", false], ["https://evil#@rooms.example", false], ["https://rooms.example\t.evil/", false],
  ]) {
    next = url;
    asked.length = 0;
    await client.download("j");
    assert.equal(asked[0][0], "https://Rooms.example:443/api/transform/status/j");
    assert.equal(asked[1][1] !== undefined, goes, url);
    const host = new URL(asked[1][0]).host;
    assert.ok(!goes || host === "rooms.example", `${url} leads to ${host}`);
  }
});

test("names of services and keys", () => {
  for (const url of ["rooms.example", "ftp://rooms.example", "https://", "https://a@rooms.example", "https://rooms.example?x"]) {
    assert.throws(() => new Client(url), { name: "TypeError", message: /is not the URL of a service/ });
  }
  assert.throws(() => new Client("http://x", { apiKey: "rr_sécret" }), (error) => !error.message.includes("cret"));
});

test("a newer service does no harm", async (context) => {
  const { url } = await service(
    context,
    json(202, { ...SUBMITTED, invented_later: 1 }),
    stream(
      { type: "connected", job_id: "j" },
      { type: "snapshot", job_id: "j", seq: "1-0", data: status("dreaming") },
      { type: "dream", job_id: "j", seq: "1-1", sheep: 3 },
      { type: "status", job_id: "j", seq: "1-2", status: "dreaming", progress: 0.5, message: "Dreaming" },
      { type: "gossip" },
    ),
    stream(
      { type: "connected", job_id: "j" },
      { type: "snapshot", job_id: "j", seq: "1-10", data: status("completed") },
      { type: "status", job_id: "j", seq: "1-2", status: "dreaming", progress: 0.5, message: "twice" },
      { type: "completed", job_id: "j", seq: "1-10", progress: 1, data: status("completed", { result: {} }) },
    ),
  );
  const seen = [];
  const client = new Client(url, { retry: QUICK });
  const done = await client.restyle(PHOTO, { over: "http", onEvent: (event) => void seen.push(event) });
  assert.equal(done.status, "completed");
  assert.deepEqual(seen.map(({ type, seq }) => [type, seq]), [["unknown", "1-1"], ["status", "1-2"], ["completed", "1-10"]]);
  assert.deepEqual([seen[0].name, seen[0].fields.sheep], ["dream", 3]);
});

test("a job that has ended, and whose events have expired", async (context) => {
  const snapshot = { type: "snapshot", job_id: "j", seq: "1-10", data: status("completed", { result: {} }) };
  const { url, requests } = await service(context, stream({ type: "connected", job_id: "j" }, snapshot));
  const done = await new Client(url, { retry: QUICK }).wait("j", { after: "0", over: "http", timeoutSeconds: 5 });
  assert.equal(done.status, "completed");
  assert.equal(requests.length, 2, "the second one confirms that nothing follows");
});

test("server-sent events where WebSockets do not get through", async (context) => {
  class Blocked {
    constructor() {
      Blocked.tried = (Blocked.tried ?? 0) + 1;
      setTimeout(() => this.onclose({ code: 1006, reason: "" }), 0);
    }
    close() {}
  }
  const end = { type: "cancelled", job_id: "j", seq: "1-1" };
  const { url } = await service(context, stream(end));
  const client = new Client(url, { retry: QUICK, WebSocket: Blocked });
  await assert.rejects(client.wait("j"), { name: "JobCancelled", jobId: "j" });
  assert.equal(Blocked.tried, 1);
  await assert.rejects(client.wait("j", { over: "websocket" }), reroom.ConnectionFailed);
});

test("answers that were lost: deleted and cancelled all the same", async (context) => {
  const erased = await service(context, lost, problem(404, "job_not_found"));
  await new Client(erased.url, { retry: QUICK }).erase("j");
  const cancelled = await service(context, lost, problem(409, "job_ended"), json(200, data("cancelled")));
  assert.equal((await new Client(cancelled.url, { retry: QUICK }).cancel("j")).status, "cancelled");
  const completed = await service(context, problem(409, "job_ended"), json(200, data("completed")));
  await assert.rejects(new Client(completed.url, { retry: QUICK }).cancel("j"), reroom.Conflict);
  const offer = { success: true, key: "k", method: "PUT", url: "/put", headers: { "Content-Type": "image/jpeg" }, expires_at: "x" };
  const uploaded = await service(context, json(201, offer), lost, problem(412, "upload_used"));
  assert.deepEqual(await new Client(uploaded.url, { retry: QUICK }).upload(new Blob([PHOTO])), { key: "k", expires_at: "x" });
  assert.equal(uploaded.requests[1].headers["content-type"], "image/jpeg");
});

test("media types and addresses of photos", async (context) => {
  const offer = { success: true, key: "k", method: "PUT", url: "/put", headers: {}, expires_at: "x" };
  for (const [head, type] of [
    ["\u0089PNG\r\n", "image/png"], ["RIFF....WEBP", "image/webp"], ["\u00ff\u00d8", "image/jpeg"], ["what?", "image/jpeg"],
    ["....ftypmif1....avif", "image/avif"], ["....ftypheic", "image/heic"],
  ]) {
    const { url, requests } = await service(context, json(201, offer), json(200, {}));
    const bytes = Uint8Array.from(head, (character) => character.charCodeAt(0));
    await new Client(url).upload(bytes);
    assert.deepEqual(JSON.parse(requests[0].body), { content_type: type, size: bytes.length });
  }
  const { url, requests } = await service(context, json(202, SUBMITTED), json(202, { success: true, data: [{ job: SUBMITTED }] }));
  await new Client(url).submit({ url: "https://rooms.example/a.jpg" }, { reference: { uri: "data:image/png;base64,AAAA" } });
  assert.match(requests[0].body, /name="image_url"\r\n\r\nhttps:..rooms.example.a.jpg\r[^]*name="reference"; filename="photo"\r\nContent-Type: image.png\r\n\r\n\0\0\0/);
  await new Client(url).submitBatch([{ photo: { url: "https://rooms.example/a.jpg" }, variations: 2 }]);
  assert.deepEqual(JSON.parse(requests[1].body), { items: [{ image_url: "https://rooms.example/a.jpg", variations: 2 }] });
});

test("webhooks", async () => {
  const secret = randomBytes(24);
  const text = `whsec_${secret.toString("base64")}`;
  const other = `whsec_${randomBytes(24).toString("base64")}`;
  const body = JSON.stringify({ type: "job.completed", timestamp: "2026-11-27T00:00:00Z", data: { style: "japandi – ä" } });
  const signed = (time = Math.floor(Date.now() / 1000)) => {
    const mac = createHmac("sha256", secret).update(`msg_1.${time}.${body}`).digest("base64");
    return { "Webhook-Id": "msg_1", "webhook-timestamp": String(time), "webhook-signature": `v1a,xx v1,AAAA v1,${mac}` };
  };
  for (const headers of [signed(), new Headers(signed())]) {
    for (const content of [body, new TextEncoder().encode(body)]) {
      const delivery = await reroom.verifyWebhook(content, headers, [other, text]);
      assert.deepEqual([delivery.id, delivery.type, delivery.timestamp], ["msg_1", "job.completed", "2026-11-27T00:00:00Z"]);
      assert.equal(delivery.data.style, "japandi – ä");
    }
  }
  const now = Date.now() / 1000;
  for (const [content, headers, secrets] of [
    [`${body} `, signed(), text], [body, signed(), other], [body, signed(Math.floor(now - 400)), text], [body, signed(Math.floor(now + 400)), text],
    [body, { ...signed(), "Webhook-Id": "msg_2" }, text], [body, {}, text], [body, { ...signed(), "webhook-signature": "v1,ä v1" }, text],
    [body, { ...signed(), "webhook-timestamp": "1e9" }, text], [body, signed(), []],
  ]) {
    await assert.rejects(reroom.verifyWebhook(content, headers, secrets), reroom.BadWebhook);
  }
  for (const wrong of ["", "whsec_", "whsec_ä"]) await assert.rejects(reroom.verifyWebhook(body, signed(), wrong), TypeError);
});

test("endpoints for webhooks", async (context) => {
  const hook = { id: "w/1", url: "https://shop.example/x", events: ["job.failed"], disabled: null, invented_later: 1 };
  const made = json(201, { success: true, secret: "whsec_x", data: hook });
  const shown = json(200, { success: true, data: hook });
  const { url, requests } = await service(
    context, lost, made, json(200, { success: true, data: [hook] }), shown, shown, json(200, { success: true, secret: "whsec_y", data: hook }),
    json(202, { success: true, event_id: "evt_1" }), json(200, { success: true, data: [{ id: "evt_1" }] }), lost, problem(404, "webhook_not_found"),
  );
  const client = new Client(url, { retry: QUICK });
  assert.deepEqual(await client.createWebhook({ url: hook.url, events: ["job.failed"] }), { secret: "whsec_x", webhook: hook });
  assert.deepEqual(await client.webhooks(), [hook]);
  assert.deepEqual(await client.webhook("w/1"), hook);
  assert.deepEqual(await client.changeWebhook("w/1", { enabled: true, description: "" }), hook);
  assert.equal((await client.rotateWebhook("w/1", { graceSeconds: 60 })).secret, "whsec_y");
  assert.equal(await client.testWebhook("w/1"), "evt_1");
  assert.deepEqual(await client.deliveries("w/1", { limit: 5 }), [{ id: "evt_1" }]);
  await client.deleteWebhook("w/1");
  assert.deepEqual(requests.map(({ method, url }) => `${method} ${url}`), [
    "POST /webhooks", "POST /webhooks", "GET /webhooks", "GET /webhooks/w%2F1", "PATCH /webhooks/w%2F1", "POST /webhooks/w%2F1/rotate",
    "POST /webhooks/w%2F1/test", "GET /webhooks/w%2F1/deliveries?limit=5", "DELETE /webhooks/w%2F1", "DELETE /webhooks/w%2F1",
  ]);
  assert.equal(requests[0].headers["idempotency-key"], requests[1].headers["idempotency-key"]);
  assert.deepEqual([requests[1], requests[4], requests[5]].map(({ body }) => JSON.parse(body)), [
    { url: hook.url, events: ["job.failed"] }, { enabled: true, description: "" }, { grace: 60 },
  ]);
  // Whose answer was lost may have been done: a second secret would end the one that receivers know.
  const unsure = await service(context, lost, problem(503, "unavailable"));
  await assert.rejects(new Client(unsure.url, { retry: QUICK }).rotateWebhook("w"), reroom.ConnectionFailed);
  await assert.rejects(new Client(unsure.url, { retry: QUICK }).rotateWebhook("w"), reroom.ServerError);
  assert.equal(unsure.requests.length, 2);
});

test("files in Node", async (context) => {
  const folder = await mkdtemp(join(tmpdir(), "reroom-"));
  context.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, "room.jpg"), PHOTO);
  const photo = await readPhoto(join(folder, "room.jpg"));
  await writeFile(join(folder, "old.jpg"), "old");
  await symlink("old.jpg", join(folder, "link.jpg"));
  await savePicture(photo, join(folder, "link.jpg"));
  await savePicture(photo, join(folder, "new.jpg"));
  for (const name of ["old.jpg", "new.jpg"]) assert.deepEqual(new Uint8Array(await readFile(join(folder, name))), PHOTO);
  await assert.rejects(savePicture(photo, join(folder, "missing", "a.jpg")), { code: "ENOENT" });
  await assert.rejects(readPhoto(join(folder, "missing.jpg")), { code: "ENOENT" });
  assert.deepEqual((await readdir(folder)).sort(), ["link.jpg", "new.jpg", "old.jpg", "room.jpg"]);
});

test("what React Native lacks is not needed, and its files are sent as it sends files", async (context) => {
  const real = new Map();
  const put = (name, value) => {
    real.set(name, Object.getOwnPropertyDescriptor(globalThis, name));
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  };
  context.after(() => {
    for (const [name, old] of real) old === undefined ? delete globalThis[name] : Object.defineProperty(globalThis, name, old);
  });
  const parts = [];
  for (const name of ["URL", "URLSearchParams", "ReadableStream", "TextDecoder", "TextEncoder", "crypto", "DOMException", "File"]) put(name, undefined);
  put("navigator", { product: "ReactNative" });
  put("FormData", class { append(...part) { parts.push(part); } });
  put("Blob", class Blob { constructor() { this.size = 5; this.type = "image/jpeg"; } slice() { return this; } });
  const sent = [];
  const answers = { "POST /transform/submit": SUBMITTED, "GET /transform/status/j": data("completed", { result: { transformed_url: "/p" } }) };
  const fetch = async (url, init) => {
    sent.push([url, init]);
    const text = JSON.stringify(answers[`${init.method} ${url.slice("http://phone".length)}`] ?? {});
    return { status: 200, ok: true, headers: { get: () => null }, text: async () => text, blob: async () => new Blob() };
  };
  class Socket {
    constructor(url) {
      this.url = url;
      setTimeout(() => {
        this.onopen({});
        this.onmessage({ data: JSON.stringify({ type: "completed", job_id: "j", seq: "1-1", progress: 1, data: status("completed") }) });
        this.onclose({ code: 1000 });
      }, 0);
    }
    close() {}
  }
  const client = new Client("http://phone", { fetch, WebSocket: Socket });
  const done = await client.restyle({ uri: "file:///room.jpg", type: "image/jpeg", name: "anna.jpg" }, { style: "boho" });
  assert.equal(done.status, "completed");
  assert.deepEqual(parts, [["style", "boho"], ["file", { uri: "file:///room.jpg", type: "image/jpeg", name: "photo" }]]);
  assert.match(sent[0][1].headers["Idempotency-Key"], /^[0-9a-f]{32}$/);
  assert.equal((await client.download("j")).size, 5);
  await assert.rejects(client.wait("j", { over: "http" }), /fetch does not stream here/);
});
