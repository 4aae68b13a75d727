/** Follows a job over its WebSocket, or by server-sent events where WebSockets do not come through; resumes by itself. */
import { Trouble, status, ticket } from "./api.mjs";
import { noteReached } from "./reached.mjs";
import { ROOT } from "./page.mjs";

const LAST = new Set(["completed", "failed", "cancelled"]);
const EVENTS = ["connected", "snapshot", "status", "analysis", "step", "preview", "child", ...LAST];
/** Refusals of a ticket that come again however often one asks. */
const FINAL = new Set(["job_not_found", "unauthorized", "missing_scope"]);
const REFUSALS = { 4401: "unauthorized", 4403: "forbidden_origin", 4404: "job_not_found" };
const FIRST_WAIT = 400;
const LONGEST_WAIT = 8000;
const PING = 10000;
const SILENCE = 25000;

/**
 * Calls `onMessage` with each message of the service's, in order and once, until one that ends the job; `onLink(false)`
 * when the connection is lost, `onLink(true)` when it is there (again); `onTrouble` when it can never be. Returns the
 * function that stops it.
 */
export function watch(id, onMessage, onLink, onTrouble) {
  let after = "0";
  let done = false;
  let failures = 0;
  let close = () => {};
  let timer;
  let wake;

  const finish = () => {
    done = true;
    close();
    clearTimeout(timer);
    removeEventListener("online", hurry);
    wake?.();
  };
  const hurry = () => wake?.();
  const heard = (message) => {
    if (done) return;
    failures = 0;
    onLink(true);
    noteReached(true);
    // The snapshot is as of now, and what happened before it is still to come.
    if (message.seq && message.type !== "snapshot") after = message.seq;
    const ended = LAST.has(message.type) || (message.type === "snapshot" && LAST.has(message.data.status));
    onMessage(message);
    if (ended) finish();
  };
  const over = (connect, pass) =>
    new Promise((ended) => {
      close = connect(id, after, pass, heard, ended);
    });

  async function run() {
    while (!done) {
      let code;
      try {
        const pass = await ticket(id);
        if (done) return;
        // Every second try after a failure goes the other way: some proxies let no WebSocket through.
        code = await over(failures % 2 ? byEvents : bySocket, pass);
        close();
      } catch (error) {
        code = error.code;
        if (FINAL.has(code)) return fail(new Trouble(code, error));
      }
      if (done) return;
      if (code in REFUSALS) return fail(new Trouble(REFUSALS[code]));
      if (code === 1000) return settle();
      failures += 1;
      onLink(false);
      const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (failures - 1)) * (0.75 + Math.random() / 2);
      await new Promise((go) => {
        wake = go;
        timer = setTimeout(go, wait);
      });
    }
  }

  /** The service says that all was sent, and the end was not among it: it is asked. */
  async function settle() {
    try {
      heard({ type: "snapshot", job_id: id, data: await status(id) });
      if (!done) timer = setTimeout(settle, 2000);
    } catch (error) {
      if (FINAL.has(error.code)) fail(error);
      else if (!done) timer = setTimeout(settle, 2000);
    }
  }

  function fail(trouble) {
    finish();
    onTrouble(trouble);
  }

  addEventListener("online", hurry);
  run();
  return finish;
}

function address(path, after, pass) {
  const url = new URL(path, ROOT);
  url.searchParams.set("after", after);
  if (pass) url.searchParams.set("ticket", pass);
  return url;
}

function bySocket(id, after, pass, heard, ended) {
  const url = address(`ws/transform/${id}`, after, pass);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(url);
  let last = performance.now();
  // A connection that died without a goodbye says nothing: one that answers no ping is given up.
  const pings = setInterval(() => {
    if (performance.now() - last > SILENCE) stop(1006);
    else if (socket.readyState === WebSocket.OPEN) socket.send("ping");
  }, PING);
  const stop = (code) => {
    clearInterval(pings);
    socket.onmessage = socket.onclose = null;
    socket.close();
    ended(code);
  };
  socket.onmessage = (event) => {
    last = performance.now();
    const message = JSON.parse(event.data);
    if (message.type !== "pong") heard(message);
  };
  socket.onclose = (event) => stop(event.code);
  return () => stop(1001);
}

function byEvents(id, after, pass, heard, ended) {
  const source = new EventSource(address(`transform/${id}/events`, after, pass));
  const stop = (code) => {
    source.onerror = null;
    source.close();
    ended(code);
  };
  for (const type of EVENTS) source.addEventListener(type, (event) => heard(JSON.parse(event.data)));
  source.onerror = () => stop(1006);
  return () => stop(1001);
}
