/**
 * Where a tab keeps the bytes of its shares: what every back end does, and what they have in common.
 *
 * Bytes are kept as they are on the wire, so those of an encrypted share are ciphertext here too. A back end must
 * never name a block in {@link ShareStore.present} whose bytes it does not have, whatever ended the browser before;
 * it does not know whether they are the right ones, so whoever goes on with a share hashes them first.
 */

import { KollatorError } from '../errors.ts';
import type { KeyPairStore } from '../person.ts';
import type { Phase, Role, StorageKind } from '../types.ts';
import { inWords } from '../words.ts';

/** Bytes in a block, the unit that is there or not. */
export const BLOCK = 16384;

/** One share's bytes. Offsets are those of the share's files laid end to end, each file beginning at a multiple of 16 KiB. */
export interface ShareStore {
  /** Info hash, or the name of a share that is being made ({@link temporaryName}). */
  readonly name: string;
  /** Bytes of the whole share. */
  readonly bytes: number;
  /** Bytes that were written before. Asked for others it throws a {@link KollatorError} `storage`. */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Writes whole blocks (a file's last may be short), then notes that they are there. `data` may change as soon as this
   * returns its promise. Write without waiting for the last: what lies side by side goes out together.
   */
  write(offset: number, data: Uint8Array): Promise<void>;
  /** Blocks noted as there, as [first byte, bytes] runs in order. */
  present(): Array<[number, number]>;
  /** How many of the `length` bytes from `offset` on are there without a gap. */
  available(offset: number, length: number): number;
  /** Writes what is on its way and lets go of the share. More than once does nothing. */
  close(): Promise<void>;
}

/** All shares of this browser profile and origin. */
export interface Storage {
  readonly kind: StorageKind;
  /** The key pair of this browser profile, for what is shared to it alone. */
  readonly keyPair: KeyPairStore;
  /**
   * The bytes of a share of `bytes` bytes: those that are there already, if it was kept before at that length, none
   * otherwise. It throws an {@link ElsewhereError} when another tab has the share open, and a {@link KollatorError}
   * `storage-full` when the browser says that it will not grant as much; some say so only when it is written.
   */
  open(infoHash: string, bytes: number): Promise<ShareStore>;
  /** Gives what was made under a temporary name, and is closed, its info hash. What was there under that is replaced. */
  rename(temporary: string, infoHash: string): Promise<void>;
  /**
   * The records of all shares. What belongs to none, or is torn, is removed: put the record of a share before, or
   * while, it is open.
   */
  list(): Promise<ShareRecord[]>;
  /** Keeps `record` instead of the one of that info hash. */
  putRecord(record: ShareRecord): Promise<void>;
  /** Removes a share's record and bytes. One that is open here is closed; an {@link ElsewhereError} if it is in another tab. */
  delete(infoHash: string): Promise<void>;
  /** Bytes used by this origin and, if the browser says, those that it may still use. */
  usage(): Promise<{ used: number; available?: number }>;
}

/** What a tab needs to go on with a share after a reload. */
export interface ShareRecord {
  infoHash: string;
  role: Role;
  phase: Phase;
  name: string;
  link: string;
  /** Key of an encrypted share, base64url. */
  key?: string;
  /** Whether its link has that key wrapped to one person. */
  personal?: boolean;
  ko?: Uint8Array;
  addedAt: number;
  seeding: boolean;
  bytesStored: number;
}

/** Settings of the back ends. */
export interface StorageOptions {
  /** Most bytes that the memory back end holds (512 MiB). */
  memoryLimit?: number;
}

/** A share that another tab of this browser has open. */
export class ElsewhereError extends KollatorError {
  readonly infoHash: string;
  #freed: (signal?: AbortSignal) => Promise<void>;

  constructor(infoHash: string, freed: (signal?: AbortSignal) => Promise<void>) {
    super('storage', 'Another tab of this browser works on this share.');
    this.infoHash = infoHash;
    this.#freed = freed;
  }

  /** Waits until the other tab has let go of the share; it may be gone again when you open it. */
  freed(signal?: AbortSignal): Promise<void> {
    return this.#freed(signal);
  }
}

/** A new name for a share whose info hash is not known yet; gone at the next {@link Storage.list} unless it is open. */
export function temporaryName(): string {
  const random = crypto.getRandomValues(new Uint8Array(8));
  return `new-${Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** Whether a share can be kept under `name`: an info hash, or a temporary name. */
export function isShareName(name: string): boolean {
  return /^(?:[0-9a-f]{64}|new-[0-9a-f]{16})$/.test(name);
}

/** Throws unless a share can be kept under `name` and is of a length that a number can tell exactly. */
export function checkShare(name: string, bytes = 0): void {
  if (!isShareName(name)) throw new KollatorError('storage', `"${name.slice(0, 80)}" is not an info hash.`);
  if (!Number.isSafeInteger(bytes) || bytes < 0) throw new KollatorError('storage', `A share can't have ${bytes} bytes.`);
}

/** `value` as a record, if it is one: it may come from an older version, or be torn. */
export function asRecord(value: unknown): ShareRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const record = value as Partial<Record<keyof ShareRecord, unknown>>;
  const whole =
    typeof record.infoHash === 'string' &&
    /^[0-9a-f]{64}$/.test(record.infoHash) &&
    (record.role === 'sent' || record.role === 'received') &&
    typeof record.phase === 'string' &&
    typeof record.name === 'string' &&
    typeof record.link === 'string' &&
    (record.key === undefined || typeof record.key === 'string') &&
    (record.personal === undefined || typeof record.personal === 'boolean') &&
    (record.ko === undefined || record.ko instanceof Uint8Array) &&
    typeof record.addedAt === 'number' &&
    typeof record.seeding === 'boolean' &&
    typeof record.bytesStored === 'number';
  return whole ? (value as ShareRecord) : undefined;
}

/** The browser's granted room, if it says. */
export async function estimate(): Promise<{ used: number; available?: number }> {
  const { usage, quota } = (await globalThis.navigator?.storage?.estimate?.()) ?? {};
  const used = usage ?? 0;
  return quota === undefined ? { used } : { used, available: Math.max(0, quota - used) };
}

/** What `error`, thrown by the browser's storage, means to the user. `needed`: bytes that were to be kept. */
export async function storageError(error: unknown, doing: string, needed: number): Promise<KollatorError> {
  if (error instanceof KollatorError) return error;
  const name = error instanceof Error || error instanceof DOMException ? error.name : '';
  const { available } = await estimate().catch((): { available?: number } => ({}));
  if (name === 'QuotaExceededError' || (available !== undefined && available < needed)) return full(needed, available, error);
  const why = error instanceof Error ? error.message : String(error);
  return new KollatorError('storage', `The browser could not ${doing}: ${why}`, { cause: error });
}

/** Throws unless `length` bytes from `offset` on lie in a share of `bytes` bytes. */
export function checkRange(bytes: number, offset: number, length: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (!whole || offset + length > bytes) {
    throw new KollatorError('storage', `There are no ${length} bytes at ${offset} in a share of ${bytes} bytes.`);
  }
}

/** There is no room for `needed` bytes. */
export function full(needed: number, available: number | undefined, cause?: unknown): KollatorError {
  // Browsers tell a page a rounded figure, or the same to all of them: it is of use only where it explains something.
  const left = available === undefined || available >= needed ? '' : ` (it grants ${inWords(available)})`;
  return new KollatorError(
    'storage-full',
    `The browser has no room for ${inWords(needed)} more${left}. Delete shares or free space on the disk, then try again.`,
    { cause },
  );
}
