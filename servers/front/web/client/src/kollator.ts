/**
 * A peer in a browser tab: what a page calls. It keeps the page's half only, which is a copy of how every share stands
 * and the peer connections that browsers allow nowhere else; the work is done by the engine, in a worker of its own.
 */

import type { EngineMethods, FromEngine, Part, Settings, ToEngine } from './engine/protocol.ts';
import { KollatorError } from './errors.ts';
import { fileUrl, serveFiles } from './files.ts';
import { Caller } from './rpc.ts';
import { Connections } from './rtc/connections.ts';
import { type ReadPart, streamOf } from './stream.ts';
import type {
  ChunkMap,
  ConnectedSource,
  DownloadOptions,
  KollatorEvents,
  KollatorOptions,
  PlayOptions,
  ShareState,
  Stats,
  StreamOptions,
  UploadItem,
  UploadOptions,
} from './types.ts';

/** What hears of an event. */
export type Listener<K extends keyof KollatorEvents> = (event: KollatorEvents[K]) => void;

const DEFAULTS: Omit<Settings, 'fronts'> = {
  concurrentDownloads: 10,
  concurrentUploads: 20,
  chunkSize: 4 << 20,
  seedingTime: 60 * 60 * 1000,
  discoveryInterval: 30 * 1000,
  storage: 'auto',
  relayOnly: false,
  uploadLimit: 0,
  downloadLimit: 0,
};

/** Starts the engine's worker. */
export function startEngine(): Worker {
  return new Worker(new URL('./engine/worker.ts', import.meta.url), { type: 'module', name: 'kollator' });
}

/** See the module's documentation. */
export class Kollator {
  #settings: Settings;
  #startEngine: () => Worker;
  #worker: Worker | undefined;
  #caller: Caller;
  #connections: Connections;
  #opened: Promise<void> | undefined;
  #shares = new Map<string, ShareState>();
  #listeners: { [K in keyof KollatorEvents]: Set<Listener<K>> } = { share: new Set(), removed: new Set(), network: new Set() };

  /** Nothing happens yet. `start` may start the engine's worker in another way than bundlers find by themselves. */
  constructor(options: KollatorOptions = {}, start: () => Worker = startEngine) {
    this.#settings = checked({ ...DEFAULTS, fronts: pageFronts(), ...given(options) });
    this.#startEngine = start;
    const post = (message: ToEngine, transfer: Transferable[]): void => this.#worker?.postMessage(message, transfer);
    this.#caller = new Caller(post);
    this.#connections = new Connections((event, transfer) => post({ t: 'rtc', event }, transfer));
  }

  /** Opens the storage and goes on with every share that is kept. Whether a front is there is told by `network`. */
  async connect(): Promise<void> {
    await this.#open();
    await this.#ask('connect', []);
  }

  /** Leaves the network. Every share stays where it is, and goes on at the next {@link connect}. */
  async disconnect(): Promise<void> {
    if (!this.#opened) return;
    await this.#ask('disconnect', []);
    this.#connections.closeAll();
  }

  /**
   * Shares files. Answers as soon as there is a link; it needs this browser until the share's phase is `safe`, which
   * {@link settled} waits for. Until the link is there `onProgress` hears of a share with an empty info hash.
   */
  async upload(files: File | UploadItem[] | Iterable<File>, options: UploadOptions = {}): Promise<ShareState> {
    const { onProgress, signal, ...rest } = options;
    const plain = given(rest);
    await this.#open();
    const state = await this.#ask('upload', [items(files), plain], signal, onProgress);
    if (onProgress) void this.#ask('settled', [state.infoHash], signal, onProgress).catch(() => {});
    return state;
  }

  /** Gets what a link, magnet link or info hash names. Answers when all of it is here, verified; aborted, it is paused. */
  async download(link: string, options: DownloadOptions = {}): Promise<ShareState> {
    const { onProgress, signal, sequential } = options;
    const { infoHash } = await this.#add(link, sequential, signal);
    try {
      return await this.#ask('settled', [infoHash], signal, onProgress);
    } catch (error) {
      if (signal?.aborted) await this.pause(infoHash).catch(() => {});
      throw error;
    }
  }

  /**
   * A file of a share as a stream, also while it is still coming: what is read next is got first. Begins to get the share
   * if it is not here.
   */
  stream(link: string, options: StreamOptions = {}): ReadableStream<Uint8Array<ArrayBuffer>> {
    const { readable, writable } = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>();
    // What fails here is what whoever reads hears of.
    this.#streamOf(link, options).then(
      (stream) => stream.pipeTo(writable).catch(() => {}),
      (error: unknown) => writable.abort(error).catch(() => {}),
    );
    return readable;
  }

  /**
   * The address of a file for a media element or for saving, also while it is still coming. It works in pages that the
   * service worker of this library controls.
   */
  fileUrl(infoHash: string, file: number, options: { download?: boolean } = {}): string {
    const path = this.#shares.get(infoHash)?.files[file]?.path ?? '';
    return fileUrl(infoHash, file, path.split('/').at(-1) || 'file', options);
  }

  /**
   * Plays a file in a media element, also while it is still coming, in pages that no service worker controls. Goes on
   * until `signal` ends it, or fails: with `unplayable` where this browser cannot play such a file piece by piece. Begins
   * to get the share if it is not here.
   */
  async play(link: string, element: HTMLMediaElement, { file = 0, signal = new AbortController().signal }: PlayOptions = {}): Promise<void> {
    try {
      const [{ play }, bytes] = await Promise.all([import('./media/play.ts'), this.#bytesOf(link, file, signal)]);
      await play(element, bytes, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** The bytes of a part of a file, at most 4 MiB, once they are here; they are got before others. */
  async readPart(part: Part, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    await this.#open();
    return this.#ask('read', [part], signal);
  }

  /** Waits until a share is safe, or complete. Fails if the share does. */
  settled(infoHash: string, signal?: AbortSignal): Promise<ShareState> {
    return this.#ask('settled', [infoHash], signal);
  }

  /** Stops a share where it is, even over a reload. */
  pause(infoHash: string): Promise<void> {
    return this.#ask('pause', [infoHash]);
  }

  /** Goes on with a share that was paused or failed. */
  resume(infoHash: string): Promise<void> {
    return this.#ask('resume', [infoHash]);
  }

  /** Whether others may take a share from here once it is safe or complete. Switched on, the seeding time begins anew. */
  setSeeding(infoHash: string, seeding: boolean): Promise<void> {
    return this.#ask('setSeeding', [infoHash, seeding]);
  }

  /** Stops a share and removes it from this browser. Workers keep what they have. */
  delete(infoHash: string): Promise<void> {
    return this.#ask('delete', [infoHash]);
  }

  /** Changes settings, at once where that makes sense; `fronts` and `storage` stay as they are. */
  async setOptions(options: Partial<KollatorOptions>): Promise<void> {
    const { fronts, storage } = this.#settings;
    this.#settings = checked({ ...this.#settings, ...given(options), fronts, storage });
    if (this.#opened) await this.#ask('setSettings', [this.#settings]);
  }

  /**
   * The public key of this browser profile, for whoever wants to share something with its user alone. The key pair is made
   * when it is first asked for; its secret half never leaves the browser.
   */
  async publicKey(): Promise<string> {
    await this.#open();
    return this.#ask('publicKey', []);
  }

  /** How the network and the storage are. */
  async getStats(): Promise<Stats> {
    await this.#open();
    return this.#ask('stats', []);
  }

  /** Every share of which all is stored here. */
  async getStoredFiles(): Promise<ShareState[]> {
    await this.#open();
    return this.shares().filter(({ role, phase, bytesTotal, bytesDone }) => role === 'sent' || phase === 'complete' || (bytesTotal > 0 && bytesDone === bytesTotal));
  }

  /** Every share as it stands; newest first. */
  shares(): ShareState[] {
    return [...this.#shares.values()].sort((a, b) => b.addedAt - a.addedAt);
  }

  /** Where each piece of a share came from. */
  chunkMap(infoHash: string): Promise<ChunkMap> {
    return this.#ask('chunkMap', [infoHash]);
  }

  /** Workers and peers that are connected, what each gave, and what each was given. */
  async peers(): Promise<ConnectedSource[]> {
    await this.#open();
    return this.#ask('peers', []);
  }

  /**
   * Makes a peer a source of a share now, whomever the front names: answers once it is connected, or if nothing of the
   * share is missing. What it is asked for depends on what it has and how fast it is, as with every source. Begins to get
   * the share if it is not here. A peer's id is in its own {@link getStats}.
   */
  async request(link: string, peerId: string, signal?: AbortSignal): Promise<void> {
    const { infoHash } = await this.#add(link, undefined, signal);
    await this.#ask('meet', [infoHash, peerId, 'request'], signal);
  }

  /**
   * Connects to a peer so that it may take a share from here, or what is here of it: answers once it is connected. It
   * takes what it lacks if it is getting the share; nothing is forced on it.
   */
  async send(infoHash: string, peerId: string, signal?: AbortSignal): Promise<void> {
    await this.#open();
    await this.#ask('meet', [infoHash, peerId, 'send'], signal);
  }

  /** Has the workers at these URLs asked over HTTP, too, for a share that is being downloaded. */
  addWorkers(infoHash: string, workers: string[]): Promise<void> {
    return this.#ask('addWorkers', [infoHash, workers]);
  }

  /** Calls `listener` at every such event, until the function that is returned is called. */
  on<K extends keyof KollatorEvents>(event: K, listener: Listener<K>): () => void {
    this.#listeners[event].add(listener);
    return () => this.off(event, listener);
  }

  /** Calls `listener` no more. */
  off<K extends keyof KollatorEvents>(event: K, listener: Listener<K>): void {
    this.#listeners[event].delete(listener);
  }

  async #add(link: string, sequential?: boolean, signal?: AbortSignal): Promise<ShareState> {
    await this.#open();
    return this.#ask('add', [link, sequential === undefined ? {} : { sequential }], signal);
  }

  /** Starts the engine, once. */
  #open(): Promise<void> {
    this.#opened ??= (async () => {
      const worker = this.#startEngine();
      worker.onmessage = ({ data }: MessageEvent<FromEngine>) => this.#hear(data);
      worker.onerror = (event) => this.#broken(event.message || 'its worker did not start');
      this.#worker = worker;
      for (const state of await this.#ask('open', [this.#settings])) this.#changed(state);
      const container = globalThis.navigator?.serviceWorker;
      if (container) serveFiles(container, { find: (infoHash, file) => this.#find(infoHash, file), read: (part, signal) => this.readPart(part, signal) });
    })();
    return this.#opened;
  }

  async #streamOf(link: string, options: StreamOptions): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const { file = 0, start = 0, end = Infinity, signal } = options;
    const { length, read } = await this.#bytesOf(link, file, signal);
    return streamOf(read, Math.min(start, length), Math.min(end, length), signal);
  }

  /** A file to read from, once it is known. */
  async #bytesOf(link: string, file: number, signal?: AbortSignal): Promise<{ length: number; read: ReadPart }> {
    const { infoHash } = await this.#add(link, undefined, signal);
    const { length } = await this.#ask('file', [infoHash, file], signal);
    return { length, read: (offset, bytes, stopped) => this.readPart({ infoHash, file, offset, length: bytes }, stopped) };
  }

  /** A file for the service worker, if this tab and no other has the share. */
  async #find(infoHash: string, file: number): Promise<{ name: string; length: number } | undefined> {
    const phase = this.#shares.get(infoHash)?.phase;
    if (phase === undefined || phase === 'elsewhere' || phase === 'failed') return undefined;
    const { path, length } = await this.#ask('file', [infoHash, file]);
    return { name: path.split('/').at(-1) ?? path, length };
  }

  #ask<M extends keyof EngineMethods>(
    method: M,
    args: Parameters<EngineMethods[M]>,
    signal?: AbortSignal,
    onNote?: (state: ShareState) => void,
  ): Promise<ReturnType<EngineMethods[M]>> {
    if (!this.#worker) return Promise.reject(new KollatorError('offline', 'Call connect first.'));
    return this.#caller.ask(method, args, signal, onNote);
  }

  #hear(message: FromEngine): void {
    switch (message.t) {
      case 'share':
        return this.#changed(message.state);
      case 'removed':
        this.#shares.delete(message.infoHash);
        return this.#emit('removed', { infoHash: message.infoHash });
      case 'network':
        return this.#emit('network', message.stats);
      case 'rtc':
        return this.#connections.execute(message.command);
      case 'broken':
        return this.#broken(message.message);
      default:
        this.#caller.hear(message);
    }
  }

  #changed(state: ShareState): void {
    this.#shares.set(state.infoHash, state);
    this.#emit('share', state);
  }

  #broken(reason: string): void {
    this.#caller.end(new KollatorError('broken', `The engine broke down: ${reason}. Reload the page to go on.`));
    this.#connections.closeAll();
  }

  #emit<K extends keyof KollatorEvents>(event: K, value: KollatorEvents[K]): void {
    for (const listener of [...this.#listeners[event]]) {
      try {
        listener(value);
      } catch (error) {
        // One listener's fault is no other's.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}

/** What is given, without the fields that are `undefined`. */
function given<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

/** Throws a `RangeError` that names the setting which makes no sense. */
function checked(settings: Settings): Settings {
  const { chunkSize } = settings;
  if (!Number.isInteger(Math.log2(chunkSize)) || chunkSize < 16384 || chunkSize > 1 << 24) {
    throw new RangeError(`chunkSize must be a power of two from 16 KiB to 16 MiB, got ${chunkSize}`);
  }
  for (const name of ['concurrentDownloads', 'concurrentUploads'] as const) {
    if (!Number.isInteger(settings[name]) || settings[name] < 1) throw new RangeError(`${name} must be at least 1, got ${settings[name]}`);
  }
  for (const name of ['seedingTime', 'uploadLimit', 'downloadLimit'] as const) {
    if (!(settings[name] >= 0)) throw new RangeError(`${name} must not be negative, got ${settings[name]}`);
  }
  if (!(settings.discoveryInterval >= 1000)) {
    throw new RangeError(`discoveryInterval must be at least 1000 milliseconds, got ${settings.discoveryInterval}`);
  }
  return settings;
}

function pageFronts(): string[] {
  const origin = globalThis.location?.origin;
  return origin?.startsWith('http') ? [origin] : [];
}

function items(files: File | UploadItem[] | Iterable<File>): UploadItem[] {
  const list = files instanceof File ? [files] : [...files];
  return list.map((file): UploadItem => (file instanceof File ? { file, path: file.webkitRelativePath || file.name } : file));
}
