/** Requests to the service: where it is, the key, time limits, retries, and which error an answer means. */

import { ApiError, ConnectionFailed, errorFromProblem, ProtocolError, ReroomError, Timeout } from "./errors.js";
import { abortReason, Limit, pause, throwIfAborted } from "./platform.js";
import { parseRetryAfter, type Retry, type RetryPolicy } from "./retry.js";

/** Bytes a second at which a body is expected to travel at least; the service refuses slower uploads. */
const SLOWEST = 8000;
/** Bytes of a body whose size is not known. */
const UNKNOWN_SIZE = 20_000_000;

/** What is sent. @internal */
export interface Request {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /**
   * A path of the API without a slash at its beginning; or a URL, which may be another server's. A function makes a new
   * one for each try.
   */
  path: string | (() => Promise<string>);
  /** Whether it goes without the key, because its path is a right of its own. It may then be redirected anywhere. */
  anonymous?: boolean;
  headers?: Record<string, string>;
  body?: string | Blob | FormData;
  /** Bytes of the body, which lengthen the time limit; null = not known. */
  size?: number | null;
  /** Seconds that the answer may take beyond the usual, because the service is asked to wait. */
  patience?: number;
  retry: Retry;
  signal?: AbortSignal | undefined;
}

/** An answer that is a success, with its body as `read` gave it. @internal */
export interface Reply<T> {
  status: number;
  body: T;
}

/** What {@link Http} is made from. @internal */
export interface HttpOptions {
  apiKey?: string | undefined;
  timeoutSeconds: number;
  policy: RetryPolicy;
  fetch: typeof fetch;
}

/** @internal */
export class Http {
  /** The service's URL without a final slash. */
  readonly base: string;
  readonly policy: RetryPolicy;
  readonly #key: string;
  readonly #seconds: number;
  readonly #fetch: typeof fetch;

  constructor(url: string, options: HttpOptions) {
    const found = /^https?:\/\/[^/?#\\@\s]+(?:\/[^?#\\\s]*)?$/i.exec(url);
    if (found === null) {
      throw new TypeError(`${JSON.stringify(url)} is not the URL of a service, such as http://localhost:8000`);
    }
    this.base = url.replace(/\/+$/, "");
    this.#key = (options.apiKey ?? "").trim();
    // It becomes a header. The sentence must not show what may be a secret with a typing error.
    if (!/^[!-~]*$/.test(this.#key)) {
      throw new TypeError("the API key must be like rr_…, without spaces or letters such as ä");
    }
    this.policy = options.policy;
    this.#seconds = options.timeoutSeconds;
    this.#fetch = options.fetch;
  }

  /** Whether requests carry a key. */
  get hasKey(): boolean {
    return this.#key !== "";
  }

  /** The absolute URL for a URL or a path of the API. */
  absolute(path: string): string {
    if (/^https?:\/\//i.test(path)) return path;
    if (path.startsWith("//")) return `${schemeOf(this.base)}:${path}`;
    if (path.startsWith("/")) return `${/^[^/]+\/\/[^/]+/.exec(this.base)?.[0] ?? this.base}${path}`;
    return `${this.base}/${path}`;
  }

  /** The address of a WebSocket of the API. */
  socketUrl(path: string): string {
    return `ws${this.base.replace(/^http/i, "")}/${path}`;
  }

  /** Sends until it succeeds, `retry` says no or the policy gives up; rejects with the last error. */
  async send<T>(request: Request, read: (response: Response) => Promise<T>): Promise<Reply<T>> {
    for (let failures = 1; ; failures += 1) {
      try {
        return await this.#once(request, read);
      } catch (error) {
        if (!(error instanceof ReroomError)) throw error;
        const retryAfter = error instanceof ApiError ? error.retryAfter : null;
        if (!request.retry(error) || this.policy.givesUp(failures, retryAfter)) throw error;
        await pause(this.policy.pause(failures, retryAfter), request.signal);
      }
    }
  }

  /** The same with an answer in JSON. */
  json<T>(request: Request): Promise<Reply<T>> {
    return this.send(request, readJson<T>);
  }

  /**
   * Opens a stream of events, whose answer is returned as soon as it begins. `end` must be called at the end.
   *
   * Rejects with ApiError, ConnectionFailed or Timeout; nothing is retried.
   */
  async open(path: string, seconds: number, signal: AbortSignal | undefined): Promise<OpenStream> {
    const limit = new Limit(seconds, signal);
    const request: Request = { method: "GET", path, headers: { Accept: "text/event-stream" }, retry: () => false, signal };
    try {
      const response = await this.#answer(request, limit);
      limit.lift();
      return { response, end: () => limit.end() };
    } catch (error) {
      limit.end();
      throw this.#failure(error, limit, signal);
    }
  }

  async #once<T>(request: Request, read: (response: Response) => Promise<T>): Promise<Reply<T>> {
    throwIfAborted(request.signal);
    const sending = request.body === undefined ? 0 : (request.size === undefined ? 0 : (request.size ?? UNKNOWN_SIZE));
    const limit = new Limit(this.#seconds + (request.patience ?? 0) + sending / SLOWEST, request.signal);
    try {
      const response = await this.#answer(request, limit);
      const length = response.headers.get("content-length");
      limit.restart(this.#seconds + (length === null ? UNKNOWN_SIZE : Number(length)) / SLOWEST);
      return { status: response.status, body: await read(response) };
    } catch (error) {
      throw this.#failure(error, limit, request.signal);
    } finally {
      limit.end();
    }
  }

  /** The answer, if it is a success. */
  async #answer(request: Request, limit: Limit): Promise<Response> {
    const url = this.absolute(typeof request.path === "string" ? request.path : await request.path());
    const own = !request.anonymous && originOf(url) === originOf(this.base);
    const headers: Record<string, string> = { Accept: "application/json, application/problem+json", ...request.headers };
    if (own && this.#key) headers["Authorization"] = `Bearer ${this.#key}`;
    const response = await this.#fetch(url, {
      method: request.method,
      headers,
      signal: limit.signal,
      // Where a redirect leads, the key must not follow.
      redirect: own ? "manual" : "follow",
      ...(request.body === undefined ? {} : { body: request.body }),
    });
    if (response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400)) {
      const detail = "the service answers with a redirect: give the client the URL that it leads to";
      throw new ApiError({ status: response.status || 307, code: "redirected", detail });
    }
    if (!response.ok) {
      const retryAfter = parseRetryAfter(response.headers.get("retry-after"));
      throw errorFromProblem(response.status, parsed(await response.text()), retryAfter);
    }
    return response;
  }

  #failure(error: unknown, limit: Limit, signal: AbortSignal | undefined): unknown {
    if (error instanceof ReroomError) return error;
    if (limit.passed) return new Timeout("the service did not answer in time");
    if (signal?.aborted) return abortReason(signal);
    return new ConnectionFailed(`cannot reach the service: ${explained(error)}`, { cause: error });
  }
}

/** @internal */
export interface OpenStream {
  response: Response;
  end(): void;
}

async function readJson<T>(response: Response): Promise<T> {
  const body = parsed(await response.text());
  if (typeof body !== "object" || body === null) throw new ProtocolError("the service's answer was not understood");
  return body as T;
}

/** A text's JSON; undefined if it is none. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Node says only "fetch failed", and the reason in `cause`. @internal */
export function explained(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message ? error.cause.message : error.message;
}

/** Parameters as a query with its question mark; those that are null or undefined are left out. @internal */
export function query(parameters: Iterable<readonly [string, string | number | boolean | null | undefined]>): string {
  const parts: string[] = [];
  for (const [name, value] of parameters) {
    if (value !== null && value !== undefined) parts.push(`${name}=${encodeURIComponent(String(value))}`);
  }
  return parts.length ? `?${parts.join("&")}` : "";
}

function schemeOf(url: string): string {
  return (/^[a-z]+/i.exec(url)?.[0] ?? "").toLowerCase();
}

/**
 * Scheme, host and port. By hand, since React Native's `URL` is not a whole one. What is written in another way counts
 * as another origin: then the key stays here.
 */
function originOf(url: string): string {
  const scheme = schemeOf(url);
  const authority = /^[a-z]+:\/\/([^/?#\\]*)/i.exec(url)?.[1] ?? "";
  const host = authority.slice(authority.lastIndexOf("@") + 1).toLowerCase();
  return `${scheme}://${host.replace(scheme === "https" ? /:443$/ : /:80$/, "")}`;
}
