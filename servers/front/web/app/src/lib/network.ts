/**
 * What the page needs of `Kollator`, in one place: the page's code and its tests depend on this only, and whatever
 * stands in for the network while the page is looked at has to give exactly this.
 */

import type {
  ChunkMap,
  DownloadOptions,
  ErrorCode,
  KollatorEvents,
  KollatorOptions,
  PlayOptions,
  ShareState,
  Stats,
  StreamOptions,
  UploadItem,
  UploadOptions,
} from '@kollator/client';

/** The part of `Kollator` that the page uses. */
export interface Network {
  connect(): Promise<void>;
  upload(items: UploadItem[], options?: UploadOptions): Promise<ShareState>;
  download(link: string, options?: DownloadOptions): Promise<ShareState>;
  pause(infoHash: string): Promise<void>;
  resume(infoHash: string): Promise<void>;
  setSeeding(infoHash: string, seeding: boolean): Promise<void>;
  delete(infoHash: string): Promise<void>;
  setOptions(options: Pick<KollatorOptions, 'uploadLimit' | 'downloadLimit' | 'relayOnly' | 'seedingTime'>): Promise<void>;
  publicKey(): Promise<string>;
  getStats(): Promise<Stats>;
  shares(): ShareState[];
  chunkMap(infoHash: string): Promise<ChunkMap>;
  /** Where a file can be played from, or saved from with `download`, also while it is coming in. */
  fileUrl(infoHash: string, file: number, options?: { download?: boolean }): string;
  /** Plays a file where it has no address to be played from, also while it is coming in; fails if it cannot. */
  play(infoHash: string, element: HTMLMediaElement, options?: PlayOptions): Promise<void>;
  /** A file's bytes in order, also while it is coming in. */
  stream(infoHash: string, options?: StreamOptions): ReadableStream<Uint8Array<ArrayBuffer>>;
  on<Kind extends keyof KollatorEvents>(event: Kind, listener: (detail: KollatorEvents[Kind]) => void): () => void;
}

/** What went wrong: a name for the page to choose its words by, and what the network said. */
export interface Failure {
  code?: ErrorCode;
  /** Whether it is about a link for one person only. */
  personal?: boolean;
  message: string;
}

const CODES: ReadonlySet<string> = new Set<ErrorCode>([
  'link', 'key-missing', 'key-wrong', 'not-found', 'storage-full', 'storage', 'offline', 'refused', 'aborted', 'unplayable', 'broken',
]);

/** Anything thrown, as a failure. */
export function failureOf(thrown: unknown): Failure {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const code = typeof thrown === 'object' && thrown !== null && 'code' in thrown ? thrown.code : undefined;
  return typeof code === 'string' && CODES.has(code) ? { code: code as ErrorCode, message } : { message };
}
