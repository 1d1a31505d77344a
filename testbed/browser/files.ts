/** Files to share: made anew for each test, and compared with what arrives. */

import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

export const MIB = 1024 * 1024;

/** Writes a file of `size` random bytes, and the folders it is in; its path. */
export function random(path: string, size: number): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, '');
  for (let start = 0; start < size; start += 16 * MIB) {
    writeFileSync(path, randomBytes(Math.min(16 * MIB, size - start)), { flag: 'a' });
  }
  return path;
}

/** Tells files with other contents apart. */
export async function digest(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const data of createReadStream(path)) hash.update(data as Buffer);
  return hash.digest('hex');
}

/** The files below a folder, by their paths there. */
export function below(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}

/** The files below `folder` that hold `needle`. */
export function holding(folder: string, needle: Buffer): string[] {
  return below(folder).filter((path) => readFileSync(join(folder, path)).includes(needle));
}
