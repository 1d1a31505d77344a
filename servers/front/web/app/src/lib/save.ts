/**
 * Getting files out of the browser's own storage: a whole folder where the browser can write one, and single files
 * where no service worker gives them addresses. Names come from whoever made the share: they are checked again before
 * they become folders on this device.
 */

import { gathered } from './parts.ts';
import type { StreamOptions } from '@kollator/client';

/** The part of the network that saving needs. */
export interface Streams {
  stream(infoHash: string, options: StreamOptions): ReadableStream<Uint8Array<ArrayBuffer>>;
}

/** The part of a folder on this device that saving needs. */
export interface Folder {
  getDirectoryHandle(name: string, options: { create: true }): Promise<Folder>;
  getFileHandle(name: string, options: { create: true }): Promise<Place>;
}

/** Where a file is written to. */
export interface Place {
  createWritable(): Promise<WritableStream>;
}

interface Picker {
  showDirectoryPicker?: (options: { mode: 'readwrite' }) => Promise<Folder>;
  showSaveFilePicker?: (options: { suggestedName: string }) => Promise<Place>;
}

/** Whether this browser can write a folder. */
export function savesFolders(): boolean {
  return typeof (globalThis as Picker).showDirectoryPicker === 'function';
}

/** Asks for a folder to write to; nothing if the user thinks better of it. */
export function pickFolder(): Promise<Folder | undefined> {
  return picked(async () => (globalThis as Picker).showDirectoryPicker?.({ mode: 'readwrite' }));
}

/** Asks where a file is to be written, where browsers let a page do that: `elsewhere` where not, nothing if the user thinks better of it. */
export async function pickPlace(suggestedName: string): Promise<Place | 'elsewhere' | undefined> {
  const page = globalThis as Picker;
  return picked(async () => page.showSaveFilePicker?.({ suggestedName }) ?? 'elsewhere');
}

async function picked<T>(pick: () => Promise<T>): Promise<T | undefined> {
  try {
    return await pick();
  } catch (thrown) {
    if (thrown instanceof DOMException && thrown.name === 'AbortError') return undefined;
    throw thrown;
  }
}

/** The components of a path, or an error if one of them could lead elsewhere. */
export function components(path: string): string[] {
  const parts = path.split('/');
  for (const part of parts) {
    if (part === '' || part === '.' || part === '..' || /[\\\0]/.test(part)) throw new RangeError(`“${path}” is no safe name for a file`);
  }
  return parts;
}

/** Writes every file of a share below `folder`, one after the other, waiting for what is still coming. */
export async function saveInto(
  folder: Folder,
  share: { infoHash: string; name: string; files: Array<{ index: number; path: string }> },
  from: Streams,
  onFile: (done: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const paths = share.files.map(({ path }) => components(path));
  const root = await folder.getDirectoryHandle(components(share.name).join(' '), { create: true });
  for (const [at, { index }] of share.files.entries()) {
    const path = paths[at] ?? [];
    let into = root;
    for (const name of path.slice(0, -1)) into = await into.getDirectoryHandle(name, { create: true });
    const file = await into.getFileHandle(path.at(-1) ?? '', { create: true });
    await from.stream(share.infoHash, { file: index, signal }).pipeTo(await file.createWritable(), { signal });
    onFile(at + 1);
  }
}

/** Writes one file to its place, waiting for what is still coming. */
export async function saveTo(
  place: Place,
  infoHash: string,
  { index }: { index: number },
  from: Streams,
  onBytes: (done: number) => void,
  signal: AbortSignal,
): Promise<void> {
  let done = 0;
  const counted = new TransformStream<Uint8Array<ArrayBuffer>>({
    transform: (data, controller) => {
      done += data.length;
      onBytes(done);
      controller.enqueue(data);
    },
  });
  await from.stream(infoHash, { file: index, signal }).pipeThrough(counted).pipeTo(await place.createWritable(), { signal });
}

/** Puts one file together, waiting for what is still coming, and has the browser save it as it saves any download. */
export async function saveFromParts(
  infoHash: string,
  { index, path, length }: { index: number; path: string; length: number },
  from: Streams,
  onBytes: (done: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const url = URL.createObjectURL(await gathered(from.stream(infoHash, { file: index, signal }), length, onBytes));
  const link = document.createElement('a');
  link.href = url;
  link.download = path.split('/').at(-1) ?? '';
  link.click();
  // The browser has to have begun to read it.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
