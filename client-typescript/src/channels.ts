/** One connection that brings a job's messages: a WebSocket, or a stream of server-sent events. */

import type { Http, OpenStream } from "./http.js";
import { isReactNative, pause, throwIfAborted } from "./platform.js";
import { ReroomError } from "./errors.js";
import { EventStreamParser } from "./sse.js";

/** Brings messages until it is closed. @internal */
export interface Channel {
  /**
   * The next message, or null when there is none within `seconds`. Rejects with ChannelClosed at the end, and with the
   * signal's reason when it is aborted.
   */
  next(seconds: number, signal: AbortSignal | undefined): Promise<string | null>;
  close(): void;
}

/** The connection has ended. `code` is a WebSocket's close code; 1000 = the job has ended, 1006 = it was lost, and of a stream
 * ENDED. @internal */
export class ChannelClosed extends Error {
  constructor(
    readonly code: number,
    readonly reason: string,
  ) {
    super(reason || `the connection was closed with code ${code}`);
  }
}

/** What is needed of a WebSocket: that of browsers, Node 22, React Native, or the package `ws`. */
export interface WebSocketLike {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string): void;
  close(code?: number): void;
}

/** A class of WebSockets. */
export type WebSocketClass = new (url: string) => WebSocketLike;

/** The service ended a stream; whether that was the end of the job, the next connection tells. @internal */
export const ENDED = 1005;
const NORMAL = 1000;
const LOST = 1006;
/** Seconds of silence after which a connection is asked for a sign of life, and then those for which it may be silent. */
const QUIET_SECONDS = 15;

/** Messages in their order, for one reader. */
class Inbox {
  readonly #messages: string[] = [];
  #end: unknown;
  #ended = false;
  #wake: (() => void) | null = null;
  /** When something was heard last, in milliseconds. */
  heard = Date.now();

  put(message: string): void {
    this.hear();
    this.#messages.push(message);
    this.#wake?.();
  }

  hear(): void {
    this.heard = Date.now();
  }

  /** No message comes after this; what has come is still delivered. */
  end(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#end = error;
    this.#wake?.();
  }

  /** The next message; null when none has come within `seconds`. */
  async take(seconds: number, signal: AbortSignal | undefined): Promise<string | null> {
    throwIfAborted(signal);
    if (!this.#messages.length && !this.#ended) {
      await pause(seconds, signal, (wake) => (this.#wake = wake));
      this.#wake = null;
    }
    const message = this.#messages.shift();
    if (message !== undefined) return message;
    if (this.#ended) throw this.#end;
    return null;
  }
}

/** Opens a WebSocket; resolves when it is open. Rejects with ChannelClosed when that fails or takes too long. @internal */
export async function openSocket(
  Socket: WebSocketClass,
  url: string,
  seconds: number,
  signal: AbortSignal | undefined,
): Promise<Channel> {
  throwIfAborted(signal);
  const inbox = new Inbox();
  const socket = new Socket(url);
  let open = false;
  let wake = (): void => undefined;
  const end = (error: ChannelClosed): void => {
    inbox.end(error);
    wake();
  };
  socket.onopen = () => {
    open = true;
    inbox.hear();
    wake();
  };
  socket.onmessage = (event: { data: unknown }) => {
    if (typeof event.data === "string") inbox.put(event.data);
  };
  socket.onclose = (event: { code?: number; reason?: string }) =>
    end(new ChannelClosed(event.code ?? LOST, event.reason ?? ""));
  // A close follows where the standard is obeyed.
  socket.onerror = () => setTimeout(() => end(new ChannelClosed(LOST, "")), 1000);
  const channel = new SocketChannel(socket, inbox, end);
  try {
    await pause(seconds, signal, (woken) => (wake = woken));
    wake = () => undefined;
    // The error of a connection that was refused meanwhile, if it was.
    if (!open) await inbox.take(0, signal);
    if (!open) throw new ChannelClosed(LOST, "the connection could not be opened in time");
    return channel;
  } catch (error) {
    channel.close();
    throw error;
  }
}

class SocketChannel implements Channel {
  #asked: number | null = null;

  constructor(
    readonly socket: WebSocketLike,
    readonly inbox: Inbox,
    readonly end: (error: ChannelClosed) => void,
  ) {}

  async next(seconds: number, signal: AbortSignal | undefined): Promise<string | null> {
    const until = Date.now() + seconds * 1000;
    for (;;) {
      const message = await this.inbox.take(Math.min(QUIET_SECONDS, (until - Date.now()) / 1000), signal);
      if (message !== null) {
        this.#asked = null;
        return message;
      }
      if (Date.now() >= until) return null;
      this.#check();
    }
  }

  /** A page is not told that the other end is gone: who hears nothing asks, and the service answers everything. */
  #check(): void {
    const now = Date.now();
    if (this.#asked !== null && now - this.#asked >= QUIET_SECONDS * 900) {
      this.end(new ChannelClosed(LOST, "the connection fell silent"));
    } else if (this.#asked === null && now - this.inbox.heard >= QUIET_SECONDS * 900) {
      this.#asked = now;
      this.socket.send("{}");
    }
  }

  close(): void {
    const { socket } = this;
    socket.onmessage = socket.onclose = socket.onopen = null;
    socket.onerror = () => undefined;
    try {
      // React Native and old browsers throw for a socket that is still connecting.
      socket.close(NORMAL);
    } catch {
      socket.onopen = () => socket.close(NORMAL);
    }
  }
}

/**
 * Opens a stream of server-sent events. Rejects with ApiError, ConnectionFailed or Timeout, and with ChannelClosed (1000)
 * when the job has no event after the one that was asked for.
 *
 * @internal
 */
export async function openStream(
  http: Http,
  path: string,
  seconds: number,
  signal: AbortSignal | undefined,
): Promise<Channel> {
  const stream = await http.open(path, seconds, signal);
  if (stream.response.status === 204) {
    stream.end();
    throw new ChannelClosed(NORMAL, "the job has ended");
  }
  const body = stream.response.body as ReadableStream<Uint8Array> | null;
  if (!body || isReactNative()) {
    stream.end();
    throw new ReroomError("fetch does not stream here: follow the job with over: \"websocket\"");
  }
  return new StreamChannel(stream, body.getReader());
}

class StreamChannel implements Channel {
  readonly #inbox = new Inbox();

  constructor(
    readonly stream: OpenStream,
    readonly reader: ReadableStreamDefaultReader<Uint8Array>,
  ) {
    void this.#read();
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    const parser = new EventStreamParser();
    try {
      for (;;) {
        const { done, value } = await this.reader.read();
        if (done) break;
        this.#inbox.hear();
        for (const data of parser.feed(decoder.decode(value, { stream: true }))) this.#inbox.put(data);
      }
      this.#inbox.end(new ChannelClosed(ENDED, "the stream of events ended"));
    } catch (error) {
      this.#inbox.end(new ChannelClosed(LOST, error instanceof Error ? error.message : ""));
    }
  }

  async next(seconds: number, signal: AbortSignal | undefined): Promise<string | null> {
    const until = Date.now() + seconds * 1000;
    for (;;) {
      const message = await this.#inbox.take(Math.min(QUIET_SECONDS, (until - Date.now()) / 1000), signal);
      if (message !== null) return message;
      if (Date.now() >= until) return null;
      // Every ten seconds at least there is a comment.
      if (Date.now() - this.#inbox.heard >= 2 * QUIET_SECONDS * 1000) {
        this.#inbox.end(new ChannelClosed(LOST, "the stream of events fell silent"));
      }
    }
  }

  close(): void {
    this.reader.cancel().catch(() => undefined);
    this.stream.end();
  }
}
