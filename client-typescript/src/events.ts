/** How to follow a job: connect, resume after a lost connection, end. */

import { ChannelClosed, ENDED, openSocket, openStream, type Channel, type WebSocketClass } from "./channels.js";
import {
  ApiError,
  ConnectionFailed,
  errorFromProblem,
  isRecord,
  JobCancelled,
  JobFailed,
  ProtocolError,
  RateLimited,
  ReroomError,
  Timeout,
} from "./errors.js";
import { explained, query, type Http } from "./http.js";
import { pause, streams } from "./platform.js";
import { ifTransient } from "./retry.js";
import { hasEnded, type JobEvent, type JobStatus, type TerminalEvent } from "./types.js";

/** How events come: over a WebSocket, or as server-sent events, where WebSockets do not get through. */
export type Way = "websocket" | "http";

/** How to follow a job. */
export interface EventsOptions {
  /**
   * Where to begin: left out = now, with a `snapshot` first; `"0"` = at the job's first event; a `seq` = after that
   * event.
   */
  after?: string | undefined;
  /** Rejects with Timeout unless the job has ended within so many seconds; the job goes on. Default: no limit. */
  timeoutSeconds?: number | undefined;
  /** Default: a WebSocket where there is one, and server-sent events where it cannot be opened. */
  over?: Way | undefined;
  /** Stops following; the job goes on. */
  signal?: AbortSignal | undefined;
}

/** What following needs of the client. @internal */
export interface Source {
  http: Http;
  WebSocket: WebSocketClass | undefined;
  /** A ticket for the job; null where none is needed. */
  ticket(job: string, signal: AbortSignal | undefined): Promise<string | null>;
  /** Whether the stream of events needs a ticket, because there is no key to send. */
  streamNeedsTicket: boolean;
  status(job: string, signal: AbortSignal | undefined): Promise<JobStatus>;
}

/** How a job ended: its last event, or its state when that event came before the first one that was asked for. @internal */
export type Outcome = TerminalEvent | JobStatus;

const NORMAL = 1000;
const CONNECT_SECONDS = 10;
/** A connection that lasted longer was a good one. */
const STABLE_SECONDS = 20;
/** Close codes that no retry can cure, as the errors that REST would give. */
const PERMANENT: Readonly<Record<number, readonly [status: number, code: string]>> = {
  4400: [400, "invalid_after"],
  4401: [401, "unauthorized"],
  4403: [403, "forbidden_origin"],
  4404: [404, "job_not_found"],
};

/** Gives a job's events until it has ended, and returns how it ended. See `Client.events`. @internal */
export async function* follow(
  source: Source,
  job: string,
  options: EventsOptions,
): AsyncGenerator<JobEvent, Outcome, undefined> {
  const { signal } = options;
  const { policy } = source.http;
  const position = new Position(options.after);
  const left = deadline(job, options.timeoutSeconds);
  let way = firstWay(source, options.over);
  let failures = 0;
  let retryUntil = -Infinity;
  for (;;) {
    const began = Date.now();
    let channel: Channel | null = null;
    let wait: number | null = null;
    try {
      channel = await connect(source, way, job, position.after, left(CONNECT_SECONDS), signal);
      while (!isTerminal(position.outcome)) {
        const message = await channel.next(left(), signal);
        if (message === null) continue; // the deadline says so
        const event = decode(message);
        retryUntil = Date.now() + policy.watchSeconds * 1000;
        if (event !== null && position.advance(event)) {
          failures = 0;
          yield event;
        }
      }
      return position.outcome;
    } catch (error) {
      if (!isLost(error, source)) throw asPermanent(error);
      left();
      const code = error instanceof ChannelClosed ? error.code : null;
      // Of a job whose events have expired a stream brings the snapshot alone. That of a server which stops may end there
      // too, so the next connection confirms it.
      const expired = failures > 0 && way === "http" && code === ENDED;
      if (position.outcome !== null && (expired || code === NORMAL)) return position.outcome;
      if (way === "http" && code === NORMAL) return await source.status(job, signal);
      failures = Date.now() - began > STABLE_SECONDS * 1000 ? 1 : failures + 1;
      wait = error instanceof ApiError ? error.retryAfter : null;
      if (policy.givesUp(failures, wait) && Date.now() > retryUntil) {
        throw new ConnectionFailed(`lost the events of job ${job}: ${explained(error)}`, { cause: error });
      }
      // Where the one way cannot be opened, the other may.
      if (channel === null && options.over === undefined) way = otherWay(source, way);
    } finally {
      channel?.close();
    }
    await pause(left(policy.pause(failures, wait)), signal);
  }
}

/** The completed job; throws JobFailed or JobCancelled when it ended otherwise. @internal */
export function conclude(job: string, outcome: Outcome): JobStatus {
  if (isTerminal(outcome)) {
    if (outcome.type === "completed") return outcome.data;
    if (outcome.type === "failed") throw new JobFailed(job, outcome.error.code, outcome.error.detail);
    throw new JobCancelled(job);
  }
  if (outcome.status === "failed") {
    const { code, detail } = outcome.error ?? { code: "unknown", detail: "the service gave no reason" };
    throw new JobFailed(job, code, detail);
  }
  if (outcome.status === "cancelled") throw new JobCancelled(job);
  return outcome;
}

/** The last event that was seen, so that each is passed on once and in order. */
class Position {
  after: string | undefined;
  outcome: Outcome | null = null;
  #place: Place | null;

  constructor(after: string | undefined) {
    this.after = after;
    this.#place = after === undefined ? null : placeOf(after);
  }

  /** Moves to the event; whether it is new to the caller. */
  advance(event: JobEvent): boolean {
    const place = placeOf(event.seq);
    if (event.type === "snapshot") {
      if (hasEnded(event.data)) this.outcome = event.data;
      if (this.#place !== null) return false;
    } else if (this.#place !== null && !isAfter(place, this.#place)) {
      return false;
    }
    this.after = event.seq;
    this.#place = place;
    if (event.type === "completed" || event.type === "failed" || event.type === "cancelled") this.outcome = event;
    return true;
  }
}

type Place = readonly [ms: number, n: number];

function placeOf(seq: string): Place {
  const found = /^(\d+)(?:-(\d+))?$/.exec(seq);
  if (found === null) throw new ProtocolError(`${JSON.stringify(seq)} is not the seq of an event`);
  return [Number(found[1]), Number(found[2] ?? 0)];
}

function isAfter(one: Place, other: Place): boolean {
  return one[0] > other[0] || (one[0] === other[0] && one[1] > other[1]);
}

/** The event in a message; null for messages without a `seq` (connected, pong). Throws ProtocolError. @internal */
export function decode(text: string): JobEvent | null {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    message = null;
  }
  if (!isRecord(message) || typeof message["type"] !== "string") {
    throw new ProtocolError("a message of the service was not understood");
  }
  const { type, seq } = message;
  if (typeof seq !== "string") return null;
  if (KNOWN.has(type)) return message as unknown as JobEvent;
  return { type: "unknown", name: type, job_id: String(message["job_id"] ?? ""), seq, fields: message };
}

const KNOWN: ReadonlySet<string> = new Set<JobEvent["type"]>([
  "snapshot",
  "status",
  "child",
  "analysis",
  "step",
  "preview",
  "completed",
  "failed",
  "cancelled",
]);

function isTerminal(outcome: Outcome | null): outcome is TerminalEvent {
  return outcome !== null && "type" in outcome;
}

/** A function that says how many seconds are left, `atMost` so many; it throws Timeout when none are. */
function deadline(job: string, seconds: number | undefined): (atMost?: number) => number {
  const end = seconds === undefined ? Infinity : Date.now() + seconds * 1000;
  return (atMost = Infinity) => {
    const left = (end - Date.now()) / 1000;
    if (left <= 0) throw new Timeout(`job ${job} did not end within ${seconds} s; it goes on`);
    return Math.min(left, atMost);
  };
}

async function connect(
  source: Source,
  way: Way,
  job: string,
  after: string | undefined,
  seconds: number,
  signal: AbortSignal | undefined,
): Promise<Channel> {
  const name = encodeURIComponent(job);
  const needsTicket = way === "websocket" || source.streamNeedsTicket;
  const ticket = needsTicket ? await source.ticket(job, signal) : null;
  const parameters = query([["after", after], ["ticket", ticket]]);
  if (way === "http") return openStream(source.http, `transform/${name}/events${parameters}`, seconds, signal);
  if (source.WebSocket === undefined) {
    throw new ReroomError("there is no WebSocket here (Node has it from version 22): give the client one, or over: \"http\"");
  }
  return openSocket(source.WebSocket, source.http.socketUrl(`ws/transform/${name}${parameters}`), seconds, signal);
}

function firstWay(source: Source, wanted: Way | undefined): Way {
  return wanted ?? (source.WebSocket !== undefined || !streams() ? "websocket" : "http");
}

function otherWay(source: Source, way: Way): Way {
  if (way === "http") return source.WebSocket === undefined ? "http" : "websocket";
  return streams() ? "http" : "websocket";
}

/** Whether another connection may cure it. */
function isLost(error: unknown, source: Source): boolean {
  if (error instanceof ChannelClosed) {
    // A ticket may have been too old; whether the key is good, the next one says.
    if (error.code === 4401) return source.http.hasKey || source.streamNeedsTicket;
    return !(error.code in PERMANENT);
  }
  return error instanceof ReroomError && (ifTransient(error) || error instanceof RateLimited || error instanceof Timeout);
}

function asPermanent(error: unknown): unknown {
  if (!(error instanceof ChannelClosed)) return error;
  const [status, code] = PERMANENT[error.code] ?? [500, "unknown"];
  return errorFromProblem(status, { code, detail: error.reason || code.replaceAll("_", " ") });
}
