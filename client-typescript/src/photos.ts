/** Photos as programs have them: bytes, a Blob, a browser's File, or React Native's object with a `uri`. */

import { ConnectionFailed } from "./errors.js";
import { explained } from "./http.js";
import { isReactNative, throwIfAborted } from "./platform.js";

/** A file as React Native's image pickers and cameras give it. Elsewhere the `uri` must be one that `fetch` reads. */
export interface FileReference {
  uri: string;
  /** The media type; JPEG if it is left out. */
  type?: string | null | undefined;
  name?: string | null | undefined;
}

/** A photo to send. For a file's path in Node see `readPhoto` in `reroom/node`. */
export type Photo = Blob | Uint8Array | ArrayBuffer | FileReference;

/** A photo as a part of a form, and its bytes; null = not known. @internal */
export async function formPart(photo: Photo, signal?: AbortSignal): Promise<{ part: Blob; size: number | null }> {
  if (isReference(photo) && isReactNative()) {
    // React Native's FormData reads the file itself; the type that the DOM has for it does not know of that.
    const part = { uri: photo.uri, type: photo.type ?? "image/jpeg", name: "photo" } as unknown as Blob;
    return { part, size: null };
  }
  const part = await toBlob(photo, signal);
  return { part, size: part.size };
}

/** A photo's bytes as a Blob with a media type. @internal */
export async function toBlob(photo: Photo, signal?: AbortSignal): Promise<Blob> {
  if (isReference(photo)) {
    throwIfAborted(signal);
    try {
      const answer = await fetch(photo.uri, signal === undefined ? {} : { signal });
      const blob = await answer.blob();
      return blob.type || !photo.type ? blob : blob.slice(0, blob.size, photo.type);
    } catch (error) {
      throwIfAborted(signal);
      throw new ConnectionFailed(`cannot read the photo: ${explained(error)}`, { cause: error });
    }
  }
  if (photo instanceof Blob) return photo;
  const bytes = new Uint8Array(photo);
  return new Blob([bytes], { type: mediaType(bytes) });
}

/** A photo's media type, by its first bytes; its own type, or JPEG, for what the service will refuse. @internal */
export async function mediaTypeOf(blob: Blob): Promise<string> {
  // React Native's Blob knows its type, but not its bytes.
  if (typeof blob.slice(0, 0).arrayBuffer !== "function") return blob.type || "image/jpeg";
  const bytes = new Uint8Array(await blob.slice(0, 64).arrayBuffer());
  return mediaType(bytes, blob.type);
}

function mediaType(bytes: Uint8Array, otherwise = ""): string {
  const text = String.fromCharCode(...bytes.subarray(0, 64));
  if (text.startsWith("\u0089PNG")) return "image/png";
  if (text.startsWith("RIFF") && text.slice(8, 12) === "WEBP") return "image/webp";
  if (text.startsWith("\u00ff\u00d8")) return "image/jpeg";
  // The first brand may be one that HEIC and AVIF have in common.
  if (text.slice(4, 8) === "ftyp") return text.slice(8).includes("avif") ? "image/avif" : "image/heic";
  return otherwise.startsWith("image/") ? otherwise : "image/jpeg";
}

function isReference(photo: Photo): photo is FileReference {
  return typeof (photo as FileReference).uri === "string";
}
