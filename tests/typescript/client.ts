// What a program in TypeScript relies on: it must compile against the types made from the API's description.
import type { components, paths } from "./api";

type Message = components["schemas"]["Message"];
type Form = paths["/transform/submit"]["post"]["requestBody"]["content"]["multipart/form-data"];
type Uploaded = paths["/transform/submit-upload"]["post"]["requestBody"]["content"]["application/json"];
type Status = paths["/transform/status/{job_id}"]["get"]["responses"][200]["content"]["application/json"];
type Problem = paths["/transform/submit"]["post"]["responses"][422]["content"]["application/problem+json"];

export function told(message: Message): string {
  switch (message.type) {
    case "step":
      return `${message.step} of ${message.of}`;
    case "completed":
      return message.data.result?.metadata.room_type ?? "a room";
    case "failed":
      return message.error.detail;
    case "snapshot":
      return message.data.status;
    default:
      return message.type;
  }
}

export const form: Form = { file: "", style: "boho", preferences: { seed: 7, color_palette: ["oak"], steps: null } };
export const uploaded: Uploaded = { key: "", preferences: { color_palette: "oak, sage" } };
export const seed = (status: Status): number | undefined => status.data.result?.metadata.seed;
export const field = (problem: Problem): string | null | undefined => problem.field;

// @ts-expect-error a seed is a number
export const wrongSeed: Form = { file: "", preferences: { seed: "7" } };
// @ts-expect-error the photo is missing
export const withoutPhoto: Form = { style: "boho" };
// @ts-expect-error there is no such member
export const unknownMember: Uploaded = { key: "", preferences: { sead: 7 } };
