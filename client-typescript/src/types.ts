/**
 * What is sent to the service and what it answers: names for the types that are generated from its description.
 *
 * A newer service may answer with members, states and codes that these types do not know; they do no harm.
 */

import type { components } from "./api.js";

type Schemas = components["schemas"];

/** What may be asked for beside the style; every member is optional. */
export type Preferences = Partial<Schemas["Preferences"]>;
/** A job's state at one moment. Durations are seconds, times are RFC 3339. */
export type JobStatus = Schemas["StatusData"];
/** One of the states of a job. */
export type JobState = Schemas["JobState"];
/** Signed links, which expire (ask for the status again for fresh ones), and how the picture was made. */
export type JobResult = Schemas["ResultData"];
/** How a picture was made. */
export type ResultMetadata = Schemas["ResultMetadata"];
/** A preference that was changed or had no effect: a stable code and one sentence. */
export type ResultWarning = Schemas["ResultWarning"];
/** One of several pictures of a photo: a job of its own, whose parent lists it. */
export type Child = Schemas["ChildData"];
/** A child of a job that was just submitted. */
export type PlannedChild = Schemas["Planned"];
/** Why a job failed: a stable code and one sentence. */
export type JobError = Schemas["JobError"];
/** What is in a photo. */
export type Analysis = Schemas["Analysis"];
/** An object that was found in a photo; `box` is [x0, y0, x1, y1] in 0..1. */
export type SeenObject = Schemas["SeenObject"];
/** A style to choose from. */
export type Style = Schemas["StyleData"];
/** A style of the key's own, to be made. */
export type NewStyle = Schemas["NewStyle"];
/** An endpoint that is told what happens to the key's jobs. */
export type Webhook = Schemas["WebhookData"];
/** What an endpoint may be told of. */
export type HookEvent = Schemas["HookEvent"];
/** What became of an event for an endpoint. */
export type Delivery = Schemas["DeliveryData"];
/** The state of the service and its parts. */
export type Health = Schemas["Health"];
/** A right to one request about a job without a key. */
export type Ticket = Schemas["TicketAnswer"];

/** The job as it was when the connection began; `seq` is that of the last event that it includes. */
export type SnapshotEvent = Schemas["SnapshotMessage"];
/** The job entered a state that is not its last. */
export type StatusEvent = Schemas["StatusMessage"];
/** What is in the photo. */
export type AnalysisEvent = Schemas["AnalysisMessage"];
/** Solver step `step` (from 1) of `of` is done. */
export type StepEvent = Schemas["StepMessage"];
/** The picture so far: `jpeg` is a small JPEG in base64, so `data:image/jpeg;base64,${jpeg}` is its address. */
export type PreviewEvent = Schemas["PreviewMessage"];
/** Something happened to a child of the job: `event` is what a watcher of that child gets. */
export type ChildEvent = Schemas["ChildMessage"];
/** The last event: the job completed; `data` has the result. */
export type CompletedEvent = Schemas["CompletedMessage"];
/** The last event: the job failed. */
export type FailedEvent = Schemas["FailedMessage"];
/** The last event: the job was cancelled. */
export type CancelledEvent = Schemas["CancelledMessage"];

/** An event of a type that this version does not know, from a newer service. */
export interface UnknownEvent {
  type: "unknown";
  job_id: string;
  seq: string;
  /** The type that the service gave it. */
  name: string;
  /** The whole event. */
  fields: Record<string, unknown>;
}

/** An event after which there are no others. */
export type TerminalEvent = CompletedEvent | FailedEvent | CancelledEvent;
/** An event of a job: a union by `type`. `seq` is its place among the job's events. */
export type JobEvent =
  | Exclude<Schemas["Message"], Schemas["ConnectedMessage"] | Schemas["PongMessage"]>
  | UnknownEvent;

/** A photo in the service's storage, to be submitted once, before it expires. */
export interface Uploaded {
  key: string;
  expires_at: string;
}

/** Where a photo is on the internet. The service fetches it when it is submitted. */
export interface PhotoUrl {
  url: string;
}

/** The service's receipt for a job. */
export interface Submitted {
  job_id: string;
  /** Seconds until the result, as the service estimates them. */
  estimated_time: number;
  /** The job, if it was waited for (`waitSeconds`) and has ended meanwhile: completed, failed or cancelled. */
  job: JobStatus | null;
  /** Of several pictures of one photo (`styles`, `variations`): a job for each. Else empty. */
  children: PlannedChild[];
}

/** An endpoint to be made. */
export interface NewWebhook {
  url: string;
  /** Default: the three ends of a job. */
  events?: readonly HookEvent[] | undefined;
  /** For you. */
  description?: string | undefined;
}

/** What is to change about an endpoint; what is left out stays. `enabled` false disables it. */
export interface WebhookChange extends Partial<NewWebhook> {
  enabled?: boolean | undefined;
}

/** An endpoint with a new secret. */
export interface WebhookMade {
  /** `whsec_…`, for `verifyWebhook`. The service shows it this once. */
  secret: string;
  webhook: Webhook;
}

/** A job: its id, its receipt or its status. */
export type JobRef = string | { readonly job_id: string };

const TERMINAL: ReadonlySet<string> = new Set<JobState>(["completed", "failed", "cancelled"]);

/** Whether a job has ended. */
export function hasEnded(job: Pick<JobStatus, "status">): boolean {
  return TERMINAL.has(job.status);
}

/** The id of a job. @internal */
export function idOf(job: JobRef): string {
  return typeof job === "string" ? job : job.job_id;
}
