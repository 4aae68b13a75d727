/** The client: what a program can ask of the service. */

import type { components } from "./api.js";
import type { WebSocketClass } from "./channels.js";
import { ApiError, Conflict, errorFromProblem, isRecord, JobNotFinished, NotFound, ReroomError } from "./errors.js";
import { conclude, follow, type EventsOptions, type Outcome, type Source } from "./events.js";
import { Http, query, type Request } from "./http.js";
import { formPart, mediaTypeOf, toBlob, type Photo } from "./photos.js";
import { uniqueId } from "./platform.js";
import { ifRepeatable, ifTransient, RetryPolicy, unlessTooSlow, type RetryOptions } from "./retry.js";
import {
  hasEnded,
  idOf,
  type Analysis,
  type Delivery,
  type Health,
  type JobEvent,
  type JobRef,
  type JobState,
  type JobStatus,
  type NewStyle,
  type NewWebhook,
  type PhotoUrl,
  type Preferences,
  type Style,
  type Submitted,
  type Ticket,
  type Uploaded,
  type Webhook,
  type WebhookChange,
  type WebhookMade,
} from "./types.js";

type Schemas = components["schemas"];

/** Submissions of one request. */
const AT_ONCE = 20;
/** Jobs that one request cancels. */
const CANCELS = 100;

/** How the client works; every member has a default. */
export interface ClientOptions {
  /** The key to the service, `rr_…`. It is sent to the service alone, never to storage that links may lead to. */
  apiKey?: string | undefined;
  /**
   * Gets a ticket for a job from a server of yours, for pages that have no key: `POST /tickets` says how. Each
   * connection needs a new one. With an `apiKey` the client asks for tickets itself.
   */
  ticket?: ((jobId: string) => Promise<string>) | undefined;
  /** Seconds for an answer to begin, and again to end; big bodies get more. Default: 30. */
  timeoutSeconds?: number | undefined;
  /** How often and for how long to retry what may be retried. */
  retry?: RetryOptions | undefined;
  /** In place of the platform's `fetch`. */
  fetch?: typeof fetch | undefined;
  /** In place of the platform's `WebSocket`; Node 20 has none, and gets events over HTTP without one. */
  WebSocket?: WebSocketClass | undefined;
}

/** Of every call. */
export interface CallOptions {
  /** Ends the call, which rejects with the signal's reason. A job that was submitted goes on. */
  signal?: AbortSignal | undefined;
}

/** Of a submission. */
export interface SubmitOptions extends CallOptions {
  /** The name of a style. Default: the service's, `modern`. */
  style?: string | undefined;
  /**
   * Several styles, in place of `style`, and how many pictures to make of each (1 to 4). When that is more than one
   * picture, the job is their parent: its `children` are jobs as well, each with a result of its own.
   */
  styles?: readonly string[] | undefined;
  variations?: number | undefined;
  /** What is wanted beside the style. */
  preferences?: Preferences | undefined;
  /** A picture of the photo's shape: what is light in it stays as photographed. */
  keepMask?: Photo | undefined;
  /** A picture whose colours and contrasts are wanted. */
  reference?: Photo | undefined;
  /** The service cancels the job unless it has ended within so many seconds, rounded up. */
  cancelAfterSeconds?: number | undefined;
  /** The service answers when the job ends, after so many seconds at the latest; then the receipt has the `job`. */
  waitSeconds?: number | undefined;
}

/** Of {@link Client.wait}. */
export interface WaitOptions extends EventsOptions {
  /** Is called with every event that {@link Client.events} would give. */
  onEvent?: ((event: JobEvent) => void | Promise<void>) | undefined;
}

/** Which jobs; what is left out allows all. */
export interface JobFilter {
  status?: JobState | readonly JobState[] | undefined;
  style?: string | undefined;
  favourite?: boolean | undefined;
  createdAfter?: Date | undefined;
  createdBefore?: Date | undefined;
}

/** A photo of a batch. */
export interface BatchItem {
  photo: Photo | Uploaded | PhotoUrl;
  style?: string | undefined;
  /** As of {@link SubmitOptions}. */
  styles?: readonly string[] | undefined;
  variations?: number | undefined;
  preferences?: Preferences | undefined;
}

/**
 * Which of a job's pictures. `labelled` and `lossless` are there where the preferences of those names asked for them; `before_after` shows the photo
 * and the result side by side; `contact_sheet`, of a parent, the photo and the results of its children.
 */
export type Which = "transformed" | "thumbnail" | "original" | "labelled" | "lossless" | "before_after" | "contact_sheet";

/**
 * A reroom service.
 *
 *     const client = new Client("http://localhost:8000", { apiKey: "rr_…" });
 *     const done = await client.restyle(photo, { style: "boho" });
 *     const picture = await client.download(done);
 *
 * Methods reject with the errors of `errors.ts`: ApiError and those below it for what the service refuses,
 * ConnectionFailed and Timeout where it cannot be reached. Requests are sent again only where that is safe.
 */
export class Client {
  readonly #http: Http;
  readonly #source: Source;

  /** @throws TypeError for what cannot be the URL of a service, or a key. */
  constructor(url: string, options: ClientOptions = {}) {
    const http = new Http(url, {
      apiKey: options.apiKey,
      timeoutSeconds: options.timeoutSeconds ?? 30,
      policy: new RetryPolicy(options.retry),
      // Browsers refuse a fetch that is called as a method.
      fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    });
    const { ticket } = options;
    this.#http = http;
    this.#source = {
      http,
      WebSocket: options.WebSocket ?? (globalThis.WebSocket as WebSocketClass | undefined),
      streamNeedsTicket: !http.hasKey && ticket !== undefined,
      status: (job, signal) => this.status(job, { signal }),
      ticket: async (job, signal) => {
        if (http.hasKey) return (await this.ticket(job, { signal })).ticket;
        return ticket === undefined ? null : ticket(job);
      },
    };
  }

  /**
   * Submits a photo, waits for the job to complete and gives it. Rejects with what `submit` and `wait` reject with; the
   * job goes on when the wait ends early, and every event has its id.
   */
  async restyle(photo: Photo | Uploaded | PhotoUrl, options: SubmitOptions & Omit<WaitOptions, "after"> = {}): Promise<JobStatus> {
    const job = await this.submit(photo, options);
    return this.wait(job, { ...options, after: "0" });
  }

  /**
   * Submits a photo, an upload, or where a photo is, to be restyled, and gives the job's receipt. It is sent again under the same
   * `Idempotency-Key` where its answer was lost, so that the service makes one job of it.
   */
  async submit(photo: Photo | Uploaded | PhotoUrl, options: SubmitOptions = {}): Promise<Submitted> {
    const { signal, style, preferences, keepMask, reference, waitSeconds } = options;
    const form = new FormData();
    let size: number | null = 0;
    if (style !== undefined) form.append("style", style);
    if (options.styles !== undefined) form.append("styles", JSON.stringify(options.styles));
    if (options.variations !== undefined) form.append("variations", String(options.variations));
    if (preferences !== undefined) form.append("preferences", JSON.stringify(preferences));
    if (isUploaded(photo)) form.append("key", photo.key);
    else if (isUrl(photo)) form.append("image_url", photo.url);
    else size = plus(size, await appendPhoto(form, "file", photo, signal));
    if (keepMask !== undefined) size = plus(size, await appendPhoto(form, "keep_mask", keepMask, signal));
    if (reference !== undefined) size = plus(size, await appendPhoto(form, "reference", reference, signal));
    const headers = { "Idempotency-Key": uniqueId(), ...cancelAfter(options.cancelAfterSeconds) };
    const reply = await this.#http.json<Schemas["Submitted"] | Schemas["Status"]>({
      method: "POST",
      path: "transform/submit",
      headers: waitSeconds === undefined ? headers : { ...headers, Prefer: `wait=${Math.ceil(waitSeconds)}` },
      body: form,
      size,
      patience: waitSeconds ?? 0,
      retry: ifRepeatable,
      signal,
    });
    if ("data" in reply.body) {
      const job = reply.body.data;
      return { job_id: job.job_id, estimated_time: 0, job, children: job.children ?? [] };
    }
    return receipt(reply.body);
  }

  /**
   * Submits several photos, and gives the answer for each in their order: its receipt, or the ApiError why it was
   * refused. Photos that are no uploads yet are put into the service's storage first.
   */
  async submitBatch(
    items: readonly BatchItem[],
    options: CallOptions & Pick<SubmitOptions, "cancelAfterSeconds"> = {},
  ): Promise<(Submitted | ApiError)[]> {
    const { signal } = options;
    const answers: (Submitted | ApiError)[] = [];
    for (let start = 0; start < items.length; start += AT_ONCE) {
      const bodies: Record<string, unknown>[] = [];
      for (const { photo, ...wishes } of items.slice(start, start + AT_ONCE)) {
        // What is undefined is not sent.
        if (isUrl(photo)) bodies.push({ image_url: photo.url, ...wishes });
        else bodies.push({ key: (isUploaded(photo) ? photo : await this.upload(photo, { signal })).key, ...wishes });
      }
      const headers = { "Idempotency-Key": uniqueId(), ...cancelAfter(options.cancelAfterSeconds) };
      const { body } = await this.#json<Schemas["BatchAnswer"]>("POST", "transform/batch", { items: bodies }, {
        headers,
        retry: ifRepeatable,
        signal,
      });
      answers.push(...body.data.map(({ job, problem }) => (job ? receipt(job) : errorOf(problem))));
    }
    return answers;
  }

  /** Puts a photo straight into the service's storage, to be submitted afterwards, once. */
  async upload(photo: Photo, { signal }: CallOptions = {}): Promise<Uploaded> {
    const blob = await toBlob(photo, signal);
    const asked = { content_type: await mediaTypeOf(blob), size: blob.size };
    // An upload that is not used costs nothing, so this may be repeated.
    const { body: offer } = await this.#json<Schemas["UploadOffer"]>("POST", "uploads", asked, { signal });
    try {
      const put: Request = {
        method: "PUT",
        path: offer.url,
        headers: offer.headers,
        // Its own type would take the place of the header.
        body: blob.slice(0, blob.size, asked.content_type),
        size: blob.size,
        retry: ifTransient,
        signal,
      };
      await this.#http.send(put, (response) => response.text());
    } catch (error) {
      // The link takes one photo: an earlier try stored it, and its answer was lost.
      if (!(error instanceof ApiError && error.status === 412)) throw error;
    }
    return { key: offer.key, expires_at: offer.expires_at };
  }

  /** Finds what is in a photo: depth and edges (PNG in base64), objects, the type of room. Nothing is stored. */
  async analyze(photo: Photo, { signal }: CallOptions = {}): Promise<Analysis> {
    const form = new FormData();
    const size = await appendPhoto(form, "file", photo, signal);
    const request: Request = { method: "POST", path: "analyze", body: form, size, retry: unlessTooSlow, signal };
    return (await this.#http.json<Schemas["Analyzed"]>(request)).body.data;
  }

  /** The job's present state, with freshly signed links when it is completed. */
  async status(job: JobRef, options: CallOptions = {}): Promise<JobStatus> {
    return this.#data("GET", `transform/status/${segment(job)}`, options);
  }

  /**
   * The job's events as they happen, each once and in order; ends after the last one. A lost connection is opened again
   * and resumed. Leaving the loop closes the connection. Rejects with Timeout after `timeoutSeconds`.
   */
  async *events(job: JobRef, options: EventsOptions = {}): AsyncGenerator<JobEvent, void, undefined> {
    yield* follow(this.#source, idOf(job), options);
  }

  /** Waits until the job is completed, and gives it. Rejects with JobFailed, JobCancelled, or Timeout. */
  async wait(job: JobRef | Submitted, options: WaitOptions = {}): Promise<JobStatus> {
    const known = typeof job !== "string" && "job" in job ? job.job : null;
    if (known !== null && hasEnded(known)) return conclude(known.job_id, known);
    const events = follow(this.#source, idOf(job), options);
    let next: IteratorResult<JobEvent, Outcome>;
    try {
      for (next = await events.next(); !next.done; next = await events.next()) await options.onEvent?.(next.value);
    } finally {
      // After an error of onEvent the connection is still open.
      await events.return(undefined as never);
    }
    return conclude(idOf(job), next.value);
  }

  /**
   * Cancels the job, its work on the GPU included; no error when it is cancelled already. A running job becomes
   * `cancelled` shortly afterwards. Rejects with Conflict when it has completed or failed.
   */
  async cancel(job: JobRef, options: CallOptions = {}): Promise<JobStatus> {
    try {
      return await this.#data("DELETE", `transform/${segment(job)}`, options);
    } catch (error) {
      // An earlier try may have cancelled the job, and its answer was lost.
      if (!(error instanceof Conflict)) throw error;
      const now = await this.status(job, options);
      if (now.status !== "cancelled") throw error;
      return now;
    }
  }

  /**
   * Cancels these jobs, and those waiting and running ones that the filter means, if one is given. Gives the job
   * afterwards by its id, or the ApiError why it was not cancelled.
   */
  async cancelJobs(
    jobs: readonly JobRef[],
    filter: JobFilter = {},
    options: CallOptions = {},
  ): Promise<Map<string, JobStatus | ApiError>> {
    const answers = new Map<string, JobStatus | ApiError>();
    const cancel = async (parameters: readonly Parameter[]): Promise<boolean> => {
      const path = `transform${query(parameters)}`;
      const { body } = await this.#json<Schemas["CancelAnswer"]>("DELETE", path, undefined, options);
      const before = answers.size;
      for (const item of body.data) answers.set(item.job_id, item.status ?? errorOf(item.problem));
      // A job that runs is stopped shortly afterwards: until then the filter means it still.
      return body.more && answers.size > before;
    };
    const ids = [...new Set(jobs.map(idOf))];
    for (let start = 0; start < ids.length; start += CANCELS) {
      await cancel(ids.slice(start, start + CANCELS).map((id) => ["id", id] as const));
    }
    const wanted = parametersOf(filter);
    if (wanted.length) while (await cancel(wanted));
    return answers;
  }

  /** Erases a job that has ended, and its pictures. Rejects with Conflict before it has ended: cancel it first. */
  async erase(job: JobRef, options: CallOptions = {}): Promise<void> {
    await this.#delete(`transform/${segment(job)}/files`, options);
  }

  /** Your jobs, the newest first; those that the filter means. `page` are asked for at a time (1 to 100). */
  async *jobs(
    filter: JobFilter = {},
    options: CallOptions & { page?: number | undefined } = {},
  ): AsyncGenerator<JobStatus, void, undefined> {
    const wanted = parametersOf(filter);
    for (let cursor: string | null | undefined; cursor !== null; ) {
      const path = `transform${query([...wanted, ["limit", options.page ?? 50], ["cursor", cursor]])}`;
      const { body } = await this.#json<Schemas["JobList"]>("GET", path, undefined, options);
      yield* body.data;
      cursor = body.next ?? null;
    }
  }

  /**
   * Keeps a job and its pictures beyond their time, until it is unmarked (`keep` false) or erased. Rejects with Conflict
   * for a job that has failed or was cancelled.
   */
  async favourite(job: JobRef, keep = true, options: CallOptions = {}): Promise<JobStatus> {
    return this.#data(keep ? "PUT" : "DELETE", `transform/${segment(job)}/favourite`, options);
  }

  /**
   * A picture of a completed job, a JPEG (`lossless`: a PNG or a WebP). Rejects with JobNotFinished, JobFailed, JobCancelled; for pictures that are made
   * when they are asked for (`before_after`, `contact_sheet`), with the service's own ApiError.
   *
   * In a page a job's `result` has links for `<img>`; `URL.createObjectURL` makes one of what this gives.
   */
  async download(job: JobRef, options: CallOptions & { which?: Which | undefined } = {}): Promise<Blob> {
    const { signal, which = "transformed" } = options;
    if (which === "before_after" || which === "contact_sheet") return this.#made(idOf(job), which, signal);
    const now = await this.status(job, { signal });
    if (hasEnded(now)) conclude(now.job_id, now);
    if (!now.result && now.children?.length) throw new ReroomError(`job ${now.job_id} has children: download each of them`);
    if (!now.result) throw new JobNotFinished(now.job_id, now.status);
    const path = now.result[`${which}_url`];
    if (!path) throw new ReroomError(`job ${now.job_id} has no ${which} picture`);
    const request: Request = { method: "GET", path, headers: { Accept: "image/*" }, retry: ifTransient, signal };
    return (await this.#http.send(request, (response) => response.blob())).body;
  }

  /** A picture that is made when it is asked for: there is no link to it before. */
  async #made(job: string, which: Which, signal: AbortSignal | undefined): Promise<Blob> {
    const path = async (): Promise<string> => {
      const ticket = await this.#source.ticket(job, signal);
      return `transform/${encodeURIComponent(job)}/picture${query([["which", which], ["ticket", ticket]])}`;
    };
    // The way leads to storage, where the key must not go: hence a ticket.
    const headers = { Accept: "image/*" };
    const request: Request = { method: "GET", path, anonymous: true, headers, retry: ifTransient, signal };
    return (await this.#http.send(request, (response) => response.blob())).body;
  }

  /** The styles to choose from, with the key's own at the end. */
  async styles(options: CallOptions = {}): Promise<Style[]> {
    return (await this.#json<Schemas["StyleList"]>("GET", "styles", undefined, options)).body.data;
  }

  /** Makes a style of the key's own, or replaces it; its name begins with `my-`. */
  async createStyle(style: NewStyle, options: CallOptions = {}): Promise<Style> {
    // The same style again is the same style.
    return (await this.#json<Schemas["StyleAnswer"]>("POST", "styles", style, options)).body.data;
  }

  /** Deletes a style of the key's own. Jobs that were submitted with it keep its words. */
  async deleteStyle(name: string, options: CallOptions = {}): Promise<void> {
    await this.#delete(`styles/${encodeURIComponent(name)}`, options);
  }

  /** The key's endpoints for webhooks, the oldest first. */
  async webhooks(options: CallOptions = {}): Promise<Webhook[]> {
    return (await this.#json<Schemas["WebhookList"]>("GET", "webhooks", undefined, options)).body.data;
  }

  /** An endpoint. */
  async webhook(id: string, options: CallOptions = {}): Promise<Webhook> {
    return (await this.#json<Schemas["WebhookAnswer"]>("GET", hookPath(id), undefined, options)).body.data;
  }

  /** Makes an endpoint that is told of the key's jobs from now on, and gives its secret, which the service shows this once. */
  async createWebhook(webhook: NewWebhook, { signal }: CallOptions = {}): Promise<WebhookMade> {
    const headers = { "Idempotency-Key": uniqueId() };
    const more = { headers, retry: ifRepeatable, signal };
    return secretOf((await this.#json<Schemas["WebhookMade"]>("POST", "webhooks", webhook, more)).body);
  }

  /** Changes an endpoint, disables it, or enables it again. */
  async changeWebhook(id: string, change: WebhookChange, options: CallOptions = {}): Promise<Webhook> {
    return (await this.#json<Schemas["WebhookAnswer"]>("PATCH", hookPath(id), change, options)).body.data;
  }

  /** Deletes an endpoint, and what waits for it. */
  async deleteWebhook(id: string, options: CallOptions = {}): Promise<void> {
    await this.#delete(hookPath(id), options);
  }

  /**
   * Gives an endpoint a new secret. The one before goes on signing beside it for `graceSeconds`, a day unless given. It is not sent again
   * when its answer is lost: a second one would end the secret that receivers know.
   */
  async rotateWebhook(id: string, options: CallOptions & { graceSeconds?: number | undefined } = {}): Promise<WebhookMade> {
    const { graceSeconds: grace, signal } = options;
    const more = { retry: () => false, signal };
    return secretOf((await this.#json<Schemas["WebhookMade"]>("POST", `${hookPath(id)}/rotate`, { grace }, more)).body);
  }

  /** Sends an endpoint an event of the type `webhook.test`; gives the event's id. */
  async testWebhook(id: string, options: CallOptions = {}): Promise<string> {
    const path = `${hookPath(id)}/test`;
    return (await this.#json<Schemas["WebhookTested"]>("POST", path, undefined, options)).body.event_id;
  }

  /** What became of an endpoint's last events, the newest first; `limit` of them (1 to 100). */
  async deliveries(id: string, options: CallOptions & { limit?: number | undefined } = {}): Promise<Delivery[]> {
    const { limit = 20, ...call } = options;
    const path = `${hookPath(id)}/deliveries${query([["limit", limit]])}`;
    return (await this.#json<Schemas["DeliveryList"]>("GET", path, undefined, call)).body.data;
  }

  /** A ticket for one request about a job without a key, for a page: its WebSocket, or an `<img>`. */
  async ticket(job: JobRef, options: CallOptions = {}): Promise<Ticket> {
    return (await this.#json<Ticket>("POST", "tickets", { job_id: idOf(job) }, options)).body;
  }

  /** The state of the service and its parts; no error when it is degraded. */
  async health(options: CallOptions = {}): Promise<Health> {
    return (await this.#json<Health>("GET", "health", undefined, options)).body;
  }

  #json<T>(
    method: Request["method"],
    path: string,
    body: unknown,
    { headers = {}, ...options }: CallOptions & Partial<Pick<Request, "headers" | "retry">>,
  ): Promise<{ body: T }> {
    const request: Request = { method, path, headers, retry: ifTransient, ...options };
    if (body === undefined) return this.#http.json<T>(request);
    const json = { ...headers, "Content-Type": "application/json" };
    return this.#http.json<T>({ ...request, headers: json, body: JSON.stringify(body) });
  }

  async #data(method: Request["method"], path: string, options: CallOptions): Promise<JobStatus> {
    return (await this.#json<Schemas["Status"]>(method, path, undefined, options)).body.data;
  }

  /** Deletes what is then gone. Rejects with NotFound when it was not there. */
  async #delete(path: string, { signal }: CallOptions): Promise<void> {
    let maybeGone = false;
    const retry: Request["retry"] = (error) => {
      const transient = ifTransient(error);
      maybeGone ||= transient;
      return transient;
    };
    try {
      await this.#http.send({ method: "DELETE", path, retry, signal }, (response) => response.text());
    } catch (error) {
      // An earlier try deleted it, and its answer was lost.
      if (!(maybeGone && error instanceof NotFound)) throw error;
    }
  }
}

type Parameter = readonly [name: string, value: string | number | boolean | null | undefined];

function parametersOf(filter: JobFilter): Parameter[] {
  const states = filter.status === undefined ? [] : [filter.status].flat();
  const parameters: Parameter[] = [
    ...states.map((state) => ["status", state] as const),
    ["style", filter.style],
    ["favourite", filter.favourite],
    ["created_after", filter.createdAfter?.toISOString()],
    ["created_before", filter.createdBefore?.toISOString()],
  ];
  return parameters.filter(([, value]) => value !== undefined);
}

function cancelAfter(seconds: number | undefined): Record<string, string> {
  return seconds === undefined ? {} : { "Cancel-After": `${Math.ceil(seconds)}s` };
}

/** Appends a photo to a form; its bytes, or null where they are not known. */
async function appendPhoto(form: FormData, name: string, photo: Photo, signal: AbortSignal | undefined): Promise<number | null> {
  const { part, size } = await formPart(photo, signal);
  // A form needs file names; the user's own would tell the service more than it needs.
  if (part instanceof Blob) form.append(name, part, "photo");
  else form.append(name, part);
  return size;
}

function plus(one: number | null, other: number | null): number | null {
  return one === null || other === null ? null : one + other;
}

function receipt({ job_id, estimated_time, children }: Schemas["Submitted"]): Submitted {
  return { job_id, estimated_time, job: null, children: children ?? [] };
}

function errorOf(problem: unknown): ApiError {
  return errorFromProblem(isRecord(problem) && typeof problem["status"] === "number" ? problem["status"] : 500, problem);
}

function isUrl(photo: Photo | Uploaded | PhotoUrl): photo is PhotoUrl {
  return typeof (photo as Partial<PhotoUrl>).url === "string";
}

function isUploaded(photo: Photo | Uploaded | PhotoUrl): photo is Uploaded {
  return typeof (photo as Partial<Uploaded>).key === "string";
}

function hookPath(id: string): string {
  return `webhooks/${encodeURIComponent(id)}`;
}

function secretOf({ secret, data }: Schemas["WebhookMade"]): WebhookMade {
  return { secret, webhook: data };
}

function segment(job: JobRef): string {
  return encodeURIComponent(idOf(job));
}
