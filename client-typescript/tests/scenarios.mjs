// What a program does with the client, the same in Node and in a browser: nothing is imported. Each scenario gets the
// package, and `setup`: url (of the service), relay (the same through a relay), cut() (the relay's connections), key,
// photo (base64), over, and the scripted worker's seeds (tests/support/scripted_worker.py).

export const scenarios = { wholeWay, several, upload, batch, cut, refusals, aborts, hooks };

function check(right, what) {
  if (!right) throw new Error(`wrong: ${what}`);
}

function equal(found, wanted, what) {
  const [one, other] = [JSON.stringify(found), JSON.stringify(wanted)];
  check(one === other, `${what}: ${one}, not ${other}`);
}

async function rejects(promise, kind, wanted, what) {
  let error = null;
  try {
    await promise;
  } catch (caught) {
    error = caught;
  }
  check(error instanceof kind, `${what} rejects with ${kind.name}, not ${error}`);
  for (const [name, value] of Object.entries(wanted)) equal(error[name], value, `${what}: ${name}`);
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

async function collected(events) {
  const all = [];
  for await (const event of events) all.push(event);
  return all;
}

async function wholeWay({ Client, NotFound, hasEnded }, { url, key, photo, over, seeds }) {
  const client = new Client(url, { apiKey: key });
  const job = await client.submit(bytes(photo), { style: "boho", preferences: { seed: seeds.completes, preview_every: 4 } });
  const events = await collected(client.events(job, { after: "0", over }));
  const types = events.map((event) => event.type);
  for (const type of ["status", "analysis", "step", "preview", "completed"]) check(types.includes(type), `${type} in ${types}`);
  equal(types.filter((type) => type === "step").length, 4, "steps");
  check(events.every((event) => event.job_id === job.job_id), "the events are the job's");
  // Who comes late gets how it ended.
  const done = await client.wait(job, { over });
  check(hasEnded(done) && done.result.metadata.style === "boho", "the job is done");
  equal((await collected(client.events(job, { after: events.at(-1).seq, over }))).length, 0, "events after the last");
  const last = events.at(-2).seq;
  equal((await collected(client.events(job, { after: last, over }))).map((event) => event.type), ["completed"], "the last");
  for (const which of ["transformed", "thumbnail", "original"]) {
    const picture = await client.download(job, { which });
    equal(picture.type, "image/jpeg", which);
    equal([...new Uint8Array(await picture.slice(0, 2).arrayBuffer())], [0xff, 0xd8], which);
  }
  check((await client.favourite(job)).favourite, "it is a favourite");
  const listed = await collected(client.jobs({ favourite: true, status: ["completed"], createdAfter: new Date(0) }, { page: 1 }));
  equal(listed.map((each) => each.job_id), [job.job_id], "favourites");
  await client.favourite(job, false);
  await client.erase(job);
  await rejects(client.status(job), NotFound, { status: 404, code: "job_not_found" }, "an erased job");
  check((await client.styles()).some((style) => style.name === "boho"), "boho is a style");
}

async function several({ Client, ReroomError }, { url, key, photo, over, seeds }) {
  const client = new Client(url, { apiKey: key });
  const preferences = { seed: seeds.completes };
  const job = await client.submit(bytes(photo), { styles: ["boho", "modern"], preferences });
  equal(job.children.map(({ style }) => style), ["boho", "modern"], "children");
  const ends = [];
  const onEvent = (event) => event.type === "child" && event.event.type === "completed" && ends.push(event.event.job_id);
  const done = await client.wait(job, { after: "0", over, onEvent });
  equal(ends.sort(), job.children.map(({ job_id }) => job_id).sort(), "children that ended");
  await rejects(client.download(done), ReroomError, {}, "the picture of a parent");
  for (const child of done.children) check((await client.download(child)).size > 0, "a child's picture");
  equal((await client.download(done, { which: "contact_sheet" })).type, "image/jpeg", "a contact sheet");
  equal((await client.download(done.children[0], { which: "before_after" })).type, "image/jpeg", "before and after");
  await client.erase(job);
}

async function upload({ Client }, { url, key, photo, over, seeds }) {
  const client = new Client(url, { apiKey: key });
  const uploaded = await client.upload(bytes(photo));
  const events = [];
  const preferences = { seed: seeds.completes };
  const done = await client.restyle(uploaded, { preferences, over, onEvent: (event) => void events.push(event.type) });
  equal([done.status, events.at(-1)], ["completed", "completed"], "an upload's job");
  const quick = await client.submit(new Blob([bytes(photo)]), { preferences, waitSeconds: 20, cancelAfterSeconds: 60 });
  equal([quick.job?.status, (await client.wait(quick)).job_id], ["completed", quick.job_id], "a job that was waited for");
}

async function batch({ Client, ApiError }, { url, key, photo, seeds }) {
  const client = new Client(url, { apiKey: key });
  const hangs = { photo: bytes(photo), preferences: { seed: seeds.hangs } };
  const [one, refused] = await client.submitBatch([hangs, { photo: { key: "incoming/none/photo" } }]);
  check(refused instanceof ApiError, "an upload that is not there is refused");
  const cancelled = await client.cancelJobs([one, "0".repeat(32)]);
  equal([...cancelled.keys()].length, 2, "answers");
  equal(cancelled.get("0".repeat(32)).code, "job_not_found", "a job that is not there");
  await collected(client.events(one));
  equal((await client.cancel(one)).status, "cancelled", "cancelled again");
}

async function cut({ Client, JobCancelled }, { url, relay, key, photo, over, seeds, cut }) {
  const direct = new Client(url, { apiKey: key });
  const client = new Client(relay, { apiKey: key, retry: { base: 0.02 } });
  const job = await client.submit(bytes(photo), { preferences: { seed: seeds.hangs } });
  const seen = [];
  for await (const event of client.events(job, { after: "0", over })) {
    seen.push(event);
    if (event.type === "step") {
      // The end comes while there is no connection, or over the next one.
      await Promise.all([cut(), direct.cancel(job)]);
    }
  }
  const all = await collected(direct.events(job, { after: "0", over }));
  equal(seen.at(-1).type, "cancelled", "the last event");
  equal(seen, all, "events over a connection that was cut");
  await rejects(direct.wait(job, { over }), JobCancelled, { jobId: job.job_id }, "waiting for it");
}

async function refusals({ Client, Forbidden, InvalidRequest, JobFailed, NotFound }, { url, key, photo, over, seeds }) {
  const client = new Client(url, { apiKey: key });
  const wrong = new Client(url, { apiKey: "rr_wrong" });
  const nothing = new TextEncoder().encode("no picture");
  await rejects(wrong.submit(bytes(photo)), Forbidden, { status: 401, code: "unauthorized" }, "a wrong key");
  await rejects(client.submit(nothing), InvalidRequest, { code: "unsupported_image", field: "file" }, "no picture");
  await rejects(client.submit(bytes(photo), { style: "gothick" }), InvalidRequest, { field: "style" }, "a wrong style");
  const seed = { preferences: { seed: seeds.refused }, over };
  await rejects(client.restyle(bytes(photo), seed), JobFailed, { code: "invalid_request" }, "a job that fails");
  const missing = { status: 404, code: "job_not_found" };
  const none = "0".repeat(32);
  await rejects(client.wait(none, { over }), NotFound, missing, "waiting for no job");
  await rejects(client.download(none), NotFound, missing, "a picture of no job");
  await rejects(client.erase(none), NotFound, missing, "erasing no job");
}

async function hooks({ Client, Conflict, InvalidRequest, NotFound }, { url, key }) {
  const client = new Client(url, { apiKey: key });
  const address = "https://[2606:4700::1111]/hooks";
  const { secret, webhook } = await client.createWebhook({ url: address, description: "a shop" });
  check(secret.startsWith("whsec_"), "a secret");
  equal([webhook.url, webhook.events.length, webhook.disabled], [address, 3, null], "an endpoint");
  check((await client.webhooks()).some(({ id }) => id === webhook.id), "it is listed");
  const off = await client.changeWebhook(webhook.id, { enabled: false, events: ["job.started"] });
  equal([off.disabled.reason, off.events], ["by_owner", ["job.started"]], "a disabled one");
  await rejects(client.testWebhook(webhook.id), Conflict, { code: "webhook_disabled" }, "a test of a disabled one");
  equal((await client.rotateWebhook(webhook.id, { graceSeconds: 0 })).webhook.secrets, 1, "secrets without grace");
  equal(await client.deliveries(webhook.id), [], "deliveries");
  await client.deleteWebhook(webhook.id);
  await rejects(client.webhook(webhook.id), NotFound, { code: "webhook_not_found" }, "a deleted one");
  await rejects(client.createWebhook({ url: "http://10.0.0.1/" }), InvalidRequest, { field: "url" }, "a private address");
}

async function aborts({ Client, JobNotFinished, Timeout }, { url, key, photo, over, seeds }) {
  const client = new Client(url, { apiKey: key });
  const job = await client.submit(bytes(photo), { preferences: { seed: seeds.hangs } });
  const abort = new AbortController();
  const reason = new Error("enough");
  let found = null;
  try {
    for await (const event of client.events(job, { after: "0", over, signal: abort.signal })) {
      if (event.type === "step") abort.abort(reason);
    }
  } catch (error) {
    found = error;
  }
  check(found === reason, `the signal's reason, not ${found}`);
  await rejects(client.status(job, { signal: abort.signal }), Error, { message: "enough" }, "an aborted call");
  await rejects(client.wait(job, { over, timeoutSeconds: 0.2 }), Timeout, {}, "a wait that is too long");
  await rejects(client.download(job), JobNotFinished, { jobId: job.job_id }, "a job that runs");
  for await (const event of client.events(job, { over })) {
    check(event.type === "snapshot" && event.data.status === "transforming", "the job goes on");
    break;
  }
  await client.cancel(job);
}
