/**
 * From what was dropped or picked to what is uploaded: files with their paths below the folder they were in.
 * Folders are walked one after the other and to a bounded depth and number, as a drop may hold anything.
 */

import type { UploadItem } from '@kollator/client';

/** Most files in one share from the page. */
export const MAX_FILES = 20_000;
const MAX_DEPTH = 32;

/** The parts of the browser's directory entries that are used here. */
export interface Entry {
  isFile: boolean;
  isDirectory: boolean;
  name: string;
  file?(then: (file: File) => void, failed: (reason: unknown) => void): void;
  createReader?(): { readEntries(then: (entries: Entry[]) => void, failed: (reason: unknown) => void): void };
}

/** Files of an `<input>`; those of a folder input know their paths. */
export function fromInput(files: Iterable<File>): UploadItem[] {
  const items: UploadItem[] = [];
  for (const file of files) {
    const path = file.webkitRelativePath;
    items.push(path ? { file, path } : { file });
  }
  return bounded(items);
}

/** What a drop holds: entries where the browser has them, plain files otherwise. */
export function dropped(items: Iterable<DataTransferItem>): Array<Entry | File> {
  return [...items]
    .filter((item) => item.kind === 'file')
    .map((item) => (item.webkitGetAsEntry() as Entry | null) ?? item.getAsFile())
    .filter((entry) => entry !== null);
}

/**
 * Files of a drop, folders walked. What was dropped must be taken from the event before anything is awaited:
 * browsers empty it as soon as its handler returns.
 */
export async function fromDrop(entries: Array<Entry | File>): Promise<UploadItem[]> {
  const items: UploadItem[] = [];
  for (const entry of entries) {
    if (entry instanceof File) items.push({ file: entry });
    else await walk(entry, '', 0, items);
  }
  return items;
}

async function walk(entry: Entry, folder: string, depth: number, into: UploadItem[]): Promise<void> {
  const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
  if (entry.isFile && entry.file !== undefined) {
    const file = await new Promise<File>((resolve, reject) => entry.file?.(resolve, reject));
    into.push(folder === '' ? { file } : { file, path });
    bounded(into);
    return;
  }
  if (!entry.isDirectory || entry.createReader === undefined) return;
  if (depth >= MAX_DEPTH) throw new RangeError(`Folders inside folders go deeper than ${MAX_DEPTH}. Share a part of them.`);
  const reader = entry.createReader();
  for (;;) {
    // A reader hands out a folder in portions; an empty one is the end.
    const portion = await new Promise<Entry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (portion.length === 0) return;
    for (const child of portion) await walk(child, path, depth + 1, into);
  }
}

function bounded(items: UploadItem[]): UploadItem[] {
  if (items.length > MAX_FILES) throw new RangeError(`There are more than ${MAX_FILES} files. Put them into an archive first.`);
  return items;
}

/** What a choice of files is called until it has a share: the file, the folder, or how many there are. */
export function titleOf(items: UploadItem[]): string {
  const first = items[0];
  if (first === undefined) return 'Nothing';
  if (items.length === 1) return first.path ?? first.file.name;
  const roots = new Set(items.map((item) => (item.path?.includes('/') ? item.path.split('/', 1)[0] : undefined)));
  const [root] = roots;
  return roots.size === 1 && root !== undefined ? root : `${items.length} files`;
}
