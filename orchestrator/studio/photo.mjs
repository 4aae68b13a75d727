/** A photo as it is sent: no larger than the service makes use of. Made on the device, so that little travels. */
import { Trouble } from "./api.mjs";
import { MAX_BYTES, MAX_PIXELS, file } from "./page.mjs";

/** Pixels of the longer side. No picture that comes back has more. */
const LONGEST = 2048;
const AS_IT_IS = new Set(["image/jpeg", "image/png", "image/webp"]);
/** How HEIC and AVIF files name themselves. */
const OF_THE_SERVICE = new Set(["heic", "heix", "heim", "heis", "mif1", "msf1", "avif"]);
const QUALITIES = [0.92, 0.82, 0.7];

/**
 * `{blob, width, height}` of a file; `blob` alone of a photo that only the service can read, such as HEIC in most browsers.
 * Raises Trouble for what is no picture.
 */
async function prepare(chosen, longest = LONGEST) {
  if (chosen.size === 0) throw new Trouble("empty_file");
  const url = URL.createObjectURL(chosen);
  try {
    const image = await decoded(url);
    if (!image) return await asItIs(chosen);
    const { naturalWidth: width, naturalHeight: height } = image;
    const scale = Math.min(1, longest / Math.max(width, height), Math.sqrt(MAX_PIXELS / (width * height)));
    if (scale === 1 && AS_IT_IS.has(chosen.type) && chosen.size <= MAX_BYTES) return { blob: chosen, width, height };
    const size = { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
    return { blob: await drawn(image, size), ...size };
  } finally {
    URL.revokeObjectURL(url);
  }
}

/**
 * The picture at this address, upright as the camera noted it; null if it is none that this browser can show. By an `<img>`, which
 * all browsers turn; not all do so for `createImageBitmap`, nor know its option.
 */
async function decoded(url) {
  const image = Object.assign(new Image(), { src: url });
  try {
    await image.decode();
    return image.naturalWidth > 0 ? image : null;
  } catch {
    return null;
  }
}

/** A file that this browser cannot show, and the service can. Raises Trouble. */
async function asItIs(chosen) {
  const head = String.fromCharCode(...new Uint8Array(await chosen.slice(4, 12).arrayBuffer()));
  if (!head.startsWith("ftyp") || !OF_THE_SERVICE.has(head.slice(4))) throw new Trouble("unreadable_photo");
  if (chosen.size > MAX_BYTES) throw new Trouble("body_too_large");
  return { blob: chosen };
}

async function drawn(image, { width, height }) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const pen = canvas.getContext("2d");
  // What is transparent would be black in a JPEG.
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, width, height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(image, 0, 0, width, height);
  for (const quality of QUALITIES) {
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
    if (!blob) throw new Trouble("unreadable_photo");
    if (blob.size <= MAX_BYTES) return blob;
  }
  throw new Trouble("body_too_large");
}

/** The room that comes with the page. */
export async function sample() {
  const answer = await fetch(file("room.webp")).catch(() => null);
  if (!answer?.ok) throw new Trouble("offline");
  return answer.blob();
}

/** The first picture among what was dropped or pasted; null where there is none. */
export const pictureOf = (transfer) =>
  [...(transfer?.files ?? [])].find((each) => each.type.startsWith("image/")) ?? transfer?.files?.[0] ?? null;

/** The photo that becomes of a file, with its address where this browser can show it; what there is none of stays so. */
export async function prepared(file, longest) {
  const photo = file && (await prepare(file, longest));
  return photo?.width ? { ...photo, url: URL.createObjectURL(photo.blob) } : photo;
}
