/** What only Node can do: photos from files, pictures into files. */

import { randomUUID } from "node:crypto";
import { readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** A photo's file, to be submitted. Rejects with Node's own error when it cannot be read. */
export async function readPhoto(path: string | URL): Promise<Blob> {
  return new Blob([await readFile(path)]);
}

/**
 * Saves a picture. A plain file is written whole or not at all. Rejects with Node's own error when it cannot be written.
 */
export async function savePicture(picture: Blob, path: string): Promise<void> {
  const bytes = new Uint8Array(await picture.arrayBuffer());
  const there = await stat(path).catch(() => null);
  // Pipes and devices are written to.
  if (there !== null && !there.isFile()) return writeFile(path, bytes);
  // Symbolic links are followed, not replaced.
  const target = await realpath(path).catch(() => path);
  const part = join(dirname(target), `.${basename(target)}.${randomUUID()}.part`);
  try {
    await writeFile(part, bytes, { flag: "wx", mode: there === null ? 0o666 : there.mode & 0o777 });
    await rename(part, target);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}
