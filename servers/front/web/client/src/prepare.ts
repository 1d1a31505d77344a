/**
 * Makes a share of files: reads each once, seals it if asked to, hashes it and keeps what others will get, a few MiB at
 * a time. What is kept is what was hashed, so a file that changes meanwhile can't make the share wrong; where the browser
 * notices, it is refused.
 *
 * Nothing is left behind by what is refused, stopped or fails.
 */

import { KollatorError, aborted } from './errors.ts';
import { checkPaths, comparePaths, shortened } from './paths.ts';
import { PLAIN_BLOCK, SEALED_NAME, Seal, newKey, sealedLength, type ContentKey, type FileEntry } from './seal.ts';
import { BLOCK, ElsewhereError, temporaryName, type ShareStore, type Storage } from './storage/storage.ts';
import type { UploadItem } from './types.ts';

type Bytes = Uint8Array<ArrayBuffer>;

/** Blocks that are read, sealed, hashed and written in one go: about 1 MiB. */
const STRETCH = 64;
/** Stretches on their way at a time. */
const LANES = 4;
const HASH = 32;
const MAX_FILES = 1_000_000;
const CHUNK = 4 * 1024 * 1024;

/** What of the machine this needs: its pure functions, as `Machine.call` has them. */
export interface ShareMachine {
  call(header: { t: 'pieceRoot'; length: number; pieceLength: number; fileLength: number }, leaves: Uint8Array): { payload: Uint8Array };
  call(
    header: {
      t: 'buildMetainfo';
      name: string;
      pieceLength: number;
      fronts: readonly string[];
      files: readonly FileEntry[];
      sealed?: boolean;
    },
    roots: Uint8Array,
  ): { ok: { infoHash: string }; payload: Uint8Array };
}

/** How to make a share. */
export interface PrepareOptions {
  storage: Storage;
  machine: ShareMachine;
  /** Fronts that its `.ko` names. */
  fronts: readonly string[];
  /** That of the file or of the common folder by default. */
  name?: string;
  /** Whether to seal it (true). */
  encrypt?: boolean;
  /** What to seal it with (a new key). */
  key?: string;
  /** Bytes in a piece (4 MiB). */
  chunkSize?: number;
  /** Told after every MiB or so how many bytes of the files are done. */
  onProgress?: (done: number, total: number) => void;
  /**
   * Called before the share gets its info hash as its name in the storage: to put its record, without which another tab
   * would take it for a leftover.
   */
  onMade?: (prepared: Prepared) => void | Promise<void>;
  signal?: AbortSignal;
}

/** A share that was made and is kept. */
export interface Prepared {
  infoHash: string;
  ko: Bytes;
  /** The key, base64url, if it is sealed. */
  key?: string;
  /** As people see it. */
  name: string;
  /** The readable files, in the share's order. */
  files: FileEntry[];
  /** SHA-256 of each block as kept, file by file. */
  leaves: Bytes;
}

/** A file on its way into the share. */
interface Source {
  file: File;
  entry: FileEntry;
  /** Its path and length in the metainfo. */
  kept: FileEntry;
  content?: ContentKey;
  /** Where it begins among the share's bytes as kept, and among its leaves. */
  offset: number;
  leaf: number;
}

/** A part of a file that is worked on in one go. */
interface Stretch {
  source: Source;
  /** Its first block in the file. */
  block: number;
}

/** Makes a share of `items`. */
export async function prepare(items: readonly UploadItem[], options: PrepareOptions): Promise<Prepared> {
  const { storage, signal, encrypt = true, chunkSize = CHUNK } = options;
  if (chunkSize < BLOCK || chunkSize > 16 * 1024 * 1024 || !Number.isInteger(Math.log2(chunkSize))) {
    throw new KollatorError('refused', `Chunks can't have ${chunkSize} bytes: it must be a power of two from 16 KiB to 16 MiB.`);
  }
  const { name, files } = entriesOf(items, options.name);
  const key = encrypt ? (options.key ?? newKey()) : undefined;
  const sources = key === undefined ? inOrder(name, files) : await sealed(name, files, key);
  const temporary = temporaryName();
  const store = await storage.open(temporary, extent(sources));
  try {
    const leaves = await work(sources, store, options);
    await store.close();
    if (signal?.aborted) throw aborted();
    const { infoHash, ko } = metainfo(key === undefined ? name : undefined, sources, leaves, chunkSize, options);
    const entries = sources.map((source) => source.entry);
    const prepared = { infoHash, ko, ...(key === undefined ? {} : { key }), name, files: entries, leaves };
    await options.onMade?.(prepared);
    await keep(storage, temporary, infoHash);
    return prepared;
  } catch (error) {
    await storage.delete(temporary).catch(() => undefined);
    throw error;
  }
}

/** The name of a share of `items` and their paths in it. */
export function entriesOf(items: readonly UploadItem[], name?: string): { name: string; files: Array<{ file: File; path: string[] }> } {
  if (items.length === 0) throw new KollatorError('refused', 'There is nothing to share.');
  if (items.length > MAX_FILES) throw new KollatorError('refused', `There are more than ${MAX_FILES} files.`);
  const files = items.map(({ file, path }) => ({ file, path: (path ?? file.name).split('/') }));
  const [first = ''] = files[0]!.path;
  const isFolder = files.every(({ path }) => path.length > 1 && path[0] === first);
  if (isFolder && (name ?? first) === first) {
    return { name: first, files: files.map(({ file, path }) => ({ file, path: path.slice(1) })) };
  }
  if (files.length === 1 && files[0]!.path.length === 1) {
    const own = name ?? first;
    return { name: own, files: [{ file: files[0]!.file, path: [own] }] };
  }
  return { name: name ?? `${files.length} files`, files };
}

function inOrder(name: string, files: Array<{ file: File; path: string[] }>): Source[] {
  checkPaths(name, files.map(({ path }) => path), 'refused');
  if (name === SEALED_NAME) throw new KollatorError('refused', `Only encrypted shares may be called ${shortened(name)}.`);
  const sorted = [...files].sort((a, b) => comparePaths(a.path, b.path));
  return laidOut(
    sorted.map(({ file, path }) => {
      const entry = { path, length: file.size };
      return { file, entry, kept: entry };
    }),
  );
}

async function sealed(name: string, files: Array<{ file: File; path: string[] }>, key: string): Promise<Source[]> {
  const seal = await Seal.of(key);
  const entries = files.map(({ file, path }) => ({ path, length: file.size }));
  const { share, order } = await seal.layout(name, entries);
  const sources: Array<Omit<Source, 'offset' | 'leaf'>> = [];
  for (const [number, one] of share.files.entries()) {
    const kept = { path: one.sealedPath, length: sealedLength(one.length) };
    const entry = { path: one.path, length: one.length };
    sources.push({ file: files[order[number]!]!.file, entry, kept, content: await seal.content(one) });
  }
  return laidOut(sources);
}

/** Lays files end to end, each from a block's beginning on. */
function laidOut(sources: Array<Omit<Source, 'offset' | 'leaf'>>): Source[] {
  let leaf = 0;
  return sources.map((source) => {
    const placed = { ...source, offset: leaf * BLOCK, leaf };
    leaf += Math.ceil(source.kept.length / BLOCK);
    return placed;
  });
}

/** Bytes of the share as kept. */
function extent(sources: Source[]): number {
  return sources.reduce((end, { offset, kept }) => (kept.length > 0 ? offset + kept.length : end), 0);
}

/** Works through all files, and gives all leaves. */
async function work(sources: Source[], store: ShareStore, options: PrepareOptions): Promise<Bytes> {
  const { onProgress, signal } = options;
  const total = sources.reduce((sum, { entry }) => sum + entry.length, 0);
  const leaves = new Uint8Array(sources.reduce((sum, { kept }) => sum + Math.ceil(kept.length / BLOCK), 0) * HASH);
  const stretches = stretchesOf(sources);
  let done = 0;
  onProgress?.(0, total);
  const lane = async (): Promise<void> => {
    for (const stretch of stretches) {
      if (signal?.aborted) throw aborted();
      const read = await workOn(stretch, store, leaves);
      done += read;
      onProgress?.(done, total);
    }
  };
  // A lane that fails ends the stretches for all, and all end before the error is told: none may write from then on.
  const ended = await Promise.allSettled(Array.from({ length: LANES }, lane));
  for (const one of ended) if (one.status === 'rejected') throw one.reason;
  return leaves;
}

function* stretchesOf(sources: Source[]): Generator<Stretch> {
  for (const source of sources) {
    const blocks = Math.ceil(source.kept.length / BLOCK);
    for (let block = 0; block < blocks; block += STRETCH) yield { source, block };
  }
}

/** Reads, seals, hashes and keeps a stretch; gives the bytes that were read. */
async function workOn({ source, block }: Stretch, store: ShareStore, leaves: Bytes): Promise<number> {
  const { file, entry, content, offset, leaf } = source;
  const size = content ? PLAIN_BLOCK : BLOCK;
  const plain = await readAt(file, entry, block * size, Math.min((block + STRETCH) * size, entry.length));
  const data = content ? await content.sealRun(entry.length, block, plain) : plain;
  const hashes: Promise<ArrayBuffer>[] = [];
  for (let at = 0; at < data.length; at += BLOCK) hashes.push(crypto.subtle.digest('SHA-256', data.subarray(at, at + BLOCK)));
  const written = store.write(offset + block * BLOCK, data);
  const [hashed] = await Promise.all([Promise.all(hashes), written]);
  for (const [index, hash] of hashed.entries()) leaves.set(new Uint8Array(hash), (leaf + block + index) * HASH);
  return plain.length;
}

async function readAt(file: File, { path, length }: FileEntry, start: number, end: number): Promise<Bytes> {
  const shown = shortened(path.join('/'));
  let data: Bytes;
  try {
    data = new Uint8Array(await file.slice(start, end).arrayBuffer());
  } catch (error) {
    const why = `${shown} can't be read: it was changed, moved or deleted since it was chosen, or it is a folder. Choose it again.`;
    throw new KollatorError('refused', why, { cause: error });
  }
  if (data.length === end - start) return data;
  throw new KollatorError('refused', `${shown} has not the ${length} bytes any more that it had when it was chosen. Choose it again.`);
}

/** Folds leaves to piece roots, and these to the `.ko`; without a name, to that of a sealed share. */
function metainfo(name: string | undefined, sources: Source[], leaves: Bytes, pieceLength: number, options: PrepareOptions): { infoHash: string; ko: Bytes } {
  const perPiece = pieceLength / BLOCK;
  const roots: Bytes[] = [];
  for (const { kept, leaf } of sources) {
    const blocks = Math.ceil(kept.length / BLOCK);
    for (let first = 0; first < blocks; first += perPiece) {
      const length = Math.min(pieceLength, kept.length - first * BLOCK);
      const ofPiece = leaves.subarray((leaf + first) * HASH, (leaf + Math.min(first + perPiece, blocks)) * HASH);
      const header = { t: 'pieceRoot', length, pieceLength, fileLength: kept.length } as const;
      roots.push(options.machine.call(header, ofPiece).payload.slice());
    }
  }
  const all = new Uint8Array(roots.length * HASH);
  for (const [index, root] of roots.entries()) all.set(root, index * HASH);
  const files = sources.map(({ kept }) => kept);
  const called = name === undefined ? { name: SEALED_NAME, sealed: true } : { name };
  const header = { t: 'buildMetainfo', ...called, pieceLength, fronts: options.fronts, files } as const;
  const { ok, payload } = options.machine.call(header, all);
  return { infoHash: ok.infoHash, ko: payload.slice() };
}

/** Puts the share under its info hash. One that is open, here or in another tab, is the same share: it stays. */
async function keep(storage: Storage, temporary: string, infoHash: string): Promise<void> {
  try {
    await storage.rename(temporary, infoHash);
  } catch (error) {
    if (!(error instanceof ElsewhereError)) throw error;
    await storage.delete(temporary);
  }
}
