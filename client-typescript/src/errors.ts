/**
 * The errors of this package:
 *
 *     ReroomError
 *     ├── ApiError              the service answered with an error (status, code, detail, field, retryAfter)
 *     │   ├── InvalidRequest    400, 413, 415, 422: the request is wrong; `field` says where
 *     │   ├── Forbidden         401, 403: not allowed, or a link has expired
 *     │   ├── NotFound          404: no such job, file or route
 *     │   ├── Conflict          409: the job's state does not allow it
 *     │   ├── RateLimited       402, 429: a limit is met, or the service's budget; `retryAfter` says when to try again
 *     │   └── ServerError       5xx: the service is broken or not available now
 *     ├── ConnectionFailed      the service cannot be reached, or the connection was lost and retries failed
 *     ├── Timeout               no answer, or no end of the job, in time
 *     ├── ProtocolError         an answer was not understood: not a reroom service, or a much newer one
 *     ├── JobFailed             the job failed (jobId, code, detail)
 *     ├── JobCancelled          the job was cancelled (jobId)
 *     ├── JobNotFinished        there is no result yet (jobId, status)
 *     └── BadWebhook            a delivery to a webhook is not what it pretends to be
 *
 * An aborted `signal` rejects with the signal's own reason, which is not one of these.
 */

/** Base of all errors of this package. */
export class ReroomError extends Error {
  override readonly name: string = "ReroomError";
}

/** What the service says of an error: problem details (RFC 9457). */
export interface ProblemLike {
  /** The HTTP status. */
  status: number;
  /** Stable, for programs. */
  code: string;
  /** One sentence, for people. */
  detail: string;
  /** The field of the request that is wrong, if it is one. */
  field?: string | null;
  /** Seconds after which to try again, if the service said so. */
  retryAfter?: number | null;
}

/** The service answered with an error. */
export class ApiError extends ReroomError {
  override readonly name: string = "ApiError";
  /** The HTTP status. */
  readonly status: number;
  /** Stable, for programs; docs/errors.md lists them. */
  readonly code: string;
  /** One sentence, for people. */
  readonly detail: string;
  /** The field of the request that is wrong; null where it is not one. */
  readonly field: string | null;
  /** Seconds after which to try again; null where the service did not say. */
  readonly retryAfter: number | null;

  constructor(problem: ProblemLike) {
    super(`${problem.detail} [${problem.status} ${problem.code}]`);
    this.status = problem.status;
    this.code = problem.code;
    this.detail = problem.detail;
    this.field = problem.field ?? null;
    this.retryAfter = problem.retryAfter ?? null;
  }
}

/** The request is wrong; sending it again does not help. */
export class InvalidRequest extends ApiError {
  override readonly name = "InvalidRequest";
}

/** Not allowed, or a signed link is wrong or has expired. */
export class Forbidden extends ApiError {
  override readonly name = "Forbidden";
}

/** No job, file or route of that name. */
export class NotFound extends ApiError {
  override readonly name = "NotFound";
}

/** The job's state does not allow it: a job that has completed cannot be cancelled, for example. */
export class Conflict extends ApiError {
  override readonly name = "Conflict";
}

/** Too many requests, or too much asked for; `retryAfter` says when to try again. */
export class RateLimited extends ApiError {
  override readonly name = "RateLimited";
}

/** The service is broken, or not available now. */
export class ServerError extends ApiError {
  override readonly name = "ServerError";
}

/** The service cannot be reached, or the connection was lost and retries failed. */
export class ConnectionFailed extends ReroomError {
  override readonly name = "ConnectionFailed";
}

/** No answer, or no end of the job, in time. The job itself goes on. */
export class Timeout extends ReroomError {
  override readonly name = "Timeout";
}

/** An answer was not understood. */
export class ProtocolError extends ReroomError {
  override readonly name = "ProtocolError";
}

/** The job failed; `code` and `detail` say why. */
export class JobFailed extends ReroomError {
  override readonly name = "JobFailed";

  constructor(
    readonly jobId: string,
    readonly code: string,
    readonly detail: string,
  ) {
    super(`job ${jobId} failed: ${detail} [${code}]`);
  }
}

/** The job was cancelled. */
export class JobCancelled extends ReroomError {
  override readonly name = "JobCancelled";

  constructor(readonly jobId: string) {
    super(`job ${jobId} was cancelled`);
  }
}

/** There is no result yet. */
export class JobNotFinished extends ReroomError {
  override readonly name = "JobNotFinished";

  constructor(
    readonly jobId: string,
    readonly status: string,
  ) {
    super(`job ${jobId} has no result yet: it is ${status}`);
  }
}

/** A delivery to a webhook that is not signed by the service, or too old: do not act on it. */
export class BadWebhook extends ReroomError {
  override readonly name = "BadWebhook";
}

const BY_STATUS: Readonly<Record<number, new (problem: ProblemLike) => ApiError>> = {
  400: InvalidRequest,
  401: Forbidden,
  402: RateLimited,
  403: Forbidden,
  404: NotFound,
  409: Conflict,
  413: InvalidRequest,
  415: InvalidRequest,
  422: InvalidRequest,
  429: RateLimited,
};

/**
 * The error for an answer that is not a success.
 *
 * @param body what it said: problem details, or anything else.
 * @param retryAfter seconds, as its `Retry-After` says.
 * @internal
 */
export function errorFromProblem(status: number, body: unknown, retryAfter: number | null = null): ApiError {
  const problem: Record<string, unknown> = isRecord(body) ? body : {};
  const text = (name: string): string => (typeof problem[name] === "string" ? problem[name] : "");
  const kind = BY_STATUS[status] ?? (status >= 500 ? ServerError : ApiError);
  return new kind({
    status,
    code: text("code") || `http_${status}`,
    detail: text("detail") || text("title") || `the service answered with HTTP status ${status}`,
    field: text("field") || null,
    retryAfter,
  });
}

/** @internal */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
