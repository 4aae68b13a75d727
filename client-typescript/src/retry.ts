/** When to send a request again, and how long to wait before. */

import { ApiError, ConnectionFailed, type ReroomError } from "./errors.js";

/** How often and for how long to retry: exponential backoff with jitter. All have defaults. */
export interface RetryOptions {
  /** Tries of a request, or of a connection without a message in between; 1 = no retry. Default: 5. */
  attempts?: number | undefined;
  /** Seconds; the n-th pause is drawn from base·2ⁿ/2 … base·2ⁿ. Default: 0.25. */
  base?: number | undefined;
  /** No pause is longer (seconds); a service that asks for a longer one is taken to be down. Default: 10. */
  longest?: number | undefined;
  /**
   * Seconds after its last event for which a job's connection is opened again, however often: a service that restarts is
   * back by then, and the job goes on meanwhile. Default: 30.
   */
  watchSeconds?: number | undefined;
}

/** {@link RetryOptions} with their defaults. @internal */
export class RetryPolicy {
  readonly attempts: number;
  readonly base: number;
  readonly longest: number;
  readonly watchSeconds: number;

  constructor(options: RetryOptions = {}) {
    this.attempts = options.attempts ?? 5;
    this.base = options.base ?? 0.25;
    this.longest = options.longest ?? 10;
    this.watchSeconds = options.watchSeconds ?? 30;
  }

  /** Seconds to wait after the `failures`-th failure (from 1), at least `retryAfter`. */
  pause(failures: number, retryAfter: number | null = null): number {
    const backoff = Math.min(this.longest, this.base * 2 ** Math.min(failures, 32));
    return Math.max(backoff * (0.5 + Math.random() / 2), retryAfter ?? 0);
  }

  /** Whether to stop after the `failures`-th failure. */
  givesUp(failures: number, retryAfter: number | null = null): boolean {
    return failures >= this.attempts || (retryAfter ?? 0) > this.longest;
  }
}

/** Whether a request may be sent again after this error. @internal */
export type Retry = (error: ReroomError) => boolean;

const TRANSIENT: ReadonlySet<number> = new Set([502, 503, 504]);

/** A request that may be done twice: after whatever may pass. @internal */
export const ifTransient: Retry = (error) =>
  error instanceof ConnectionFailed || (error instanceof ApiError && TRANSIENT.has(error.status));

/** A request with an idempotency key: also while an earlier try is being done. @internal */
export const ifRepeatable: Retry = (error) =>
  ifTransient(error) || (error instanceof ApiError && error.code === "idempotency_key_in_use");

/** A request that may be done twice, but is expensive: not after 504, when the service was too slow for it. @internal */
export const unlessTooSlow: Retry = (error) =>
  ifTransient(error) && !(error instanceof ApiError && error.status === 504);

/** Seconds of a `Retry-After` header, which may also be a date; null when it is absent or invalid. @internal */
export function parseRetryAfter(value: string | null, now: number = Date.now()): number | null {
  const text = value?.trim() ?? "";
  if (/^\d+$/.test(text)) return Number(text);
  const date = text === "" ? NaN : Date.parse(text);
  return Number.isNaN(date) ? null : Math.max(0, (date - now) / 1000);
}
