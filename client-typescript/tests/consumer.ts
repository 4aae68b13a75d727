// What a program in TypeScript relies on: it must compile against the package as it is packed.
import { ApiError, Client, JobFailed, type components, type Delivery, type JobEvent, type JobStatus, type paths, type WebhookMade } from "reroom";
import { readPhoto, savePicture } from "reroom/node";

type Form = paths["/transform/submit"]["post"]["requestBody"]["content"]["multipart/form-data"];
type Problem = paths["/transform/submit"]["post"]["responses"][422]["content"]["application/problem+json"];

export function told(event: JobEvent): string {
  switch (event.type) {
    case "step":
      return `${event.step} of ${event.of}`;
    case "completed":
      return event.data.result?.metadata.room_type ?? "a room";
    case "failed":
      return event.error.detail;
    case "snapshot":
      return event.data.status;
    case "unknown":
      return event.name;
    default:
      return event.type;
  }
}

export async function restyled(client: Client, signal?: AbortSignal): Promise<JobStatus> {
  const photo = await readPhoto("room.jpg");
  try {
    const preferences = { seed: 7, color_palette: ["oak"], steps: null };
    const job = await client.submit(photo, { style: "boho", preferences, signal });
    for await (const event of client.events(job, { after: "0", signal })) told(event);
    await savePicture(await client.download(job, { which: "thumbnail" }), "room-boho.jpg");
    return await client.wait(job, { onEvent: (event) => console.log(event.seq) });
  } catch (error) {
    if (error instanceof ApiError && error.retryAfter !== null) console.log(error.code, error.field?.length);
    if (error instanceof JobFailed) console.log(error.jobId);
    throw error;
  }
}

export const form: Form = { file: "", style: "boho", preferences: { seed: 7, color_palette: "oak, sage" } };
export const seed = (job: JobStatus): number | undefined => job.result?.metadata.seed;
export const field = (problem: Problem): string | null | undefined => problem.field;
export const state: components["schemas"]["JobState"] = "queued";

export async function hooked(client: Client): Promise<string> {
  const { secret, webhook }: WebhookMade = await client.createWebhook({ url: "https://shop.example/x", events: ["job.failed"] });
  const [last]: Delivery[] = await client.deliveries(webhook.id, { limit: 1 });
  return last?.last_answer ?? webhook.disabled?.reason ?? secret;
}

const client = new Client("http://localhost:8000", { apiKey: undefined, retry: { attempts: 1 } });
// @ts-expect-error a seed is a number
export const wrongSeed = client.submit(new Uint8Array(), { preferences: { seed: "7" } });
// @ts-expect-error there is no such preference
export const unknownPreference = client.submit(new Uint8Array(), { preferences: { sead: 7 } });
// @ts-expect-error there is no such option
export const unknownOption = client.submit(new Uint8Array(), { styel: "boho" });
// @ts-expect-error a path is not a photo: readPhoto reads it
export const path = client.submit("room.jpg");
// @ts-expect-error there is no such picture
export const wrongPicture = client.download("job", { which: "depth" });
