/**
 * Client of a reroom service: a photo of a room in, the same room in another style out.
 *
 * It needs nothing but `fetch`, so it runs in Node from version 20, in browsers and in React Native. What only Node can
 * do is in `reroom/node`.
 *
 * @packageDocumentation
 */

export type { components, paths } from "./api.js";
export type { WebSocketClass, WebSocketLike } from "./channels.js";
export {
  Client,
  type BatchItem,
  type CallOptions,
  type ClientOptions,
  type JobFilter,
  type SubmitOptions,
  type WaitOptions,
  type Which,
} from "./client.js";
export {
  ApiError,
  Conflict,
  ConnectionFailed,
  Forbidden,
  InvalidRequest,
  JobCancelled,
  JobFailed,
  JobNotFinished,
  NotFound,
  ProtocolError,
  RateLimited,
  ReroomError,
  ServerError,
  Timeout,
  BadWebhook,
  type ProblemLike,
} from "./errors.js";
export type { EventsOptions, Way } from "./events.js";
export type { FileReference, Photo } from "./photos.js";
export type { RetryOptions } from "./retry.js";
export {
  hasEnded,
  type Analysis,
  type AnalysisEvent,
  type CancelledEvent,
  type Child,
  type ChildEvent,
  type CompletedEvent,
  type Delivery,
  type FailedEvent,
  type Health,
  type HookEvent,
  type JobError,
  type JobEvent,
  type JobRef,
  type JobResult,
  type JobState,
  type JobStatus,
  type NewStyle,
  type NewWebhook,
  type PlannedChild,
  type PhotoUrl,
  type Preferences,
  type PreviewEvent,
  type ResultMetadata,
  type ResultWarning,
  type SeenObject,
  type SnapshotEvent,
  type StatusEvent,
  type StepEvent,
  type Style,
  type Submitted,
  type TerminalEvent,
  type Ticket,
  type UnknownEvent,
  type Uploaded,
  type Webhook,
  type WebhookChange,
  type WebhookMade,
} from "./types.js";
export { verifyWebhook, type HeadersLike, type VerifyOptions, type WebhookEvent } from "./webhooks.js";
