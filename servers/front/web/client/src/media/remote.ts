/**
 * A media file that a worker takes apart, as the page sees it. The page gives the worker the bytes it asks for, and ends
 * it when it is silent for too long: files come from anyone, and may be made to keep their reader busy.
 */

import { KollatorError } from '../errors.ts';
import { type Answer, Caller, type Methods, type Question, Responder } from '../rpc.ts';
import type { ReadPart } from '../stream.ts';
import type { MediaBytes, Segment } from './segments.ts';
import { unplayable } from './unplayable.ts';

/** What the page can ask of the worker. */
export interface MediaMethods {
  /** Once, first: reads what kind of file it is. */
  open(length: number): { duration: number; types: string[] };
  seek(track: number, time: number): number;
  next(track: number): Segment | undefined;
  giveUp(): void;
}

/** What the worker can ask of the page. */
export interface PageMethods {
  read(offset: number, length: number): Awaited<ReturnType<ReadPart>>;
  /** Whether source buffers take the type. */
  plays(type: string): boolean;
}

/** A track, see `segments.ts`. */
export interface RemoteTrack {
  readonly type: string;
  seek(time: number): Promise<number>;
  next(): Promise<Segment | undefined>;
}

/** How long a worker may be busy with bytes that it has, in milliseconds. */
const PATIENCE = 10_000;

/** Starts the worker. */
export function startMedia(): Worker {
  return new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'kollator-media' });
}

/** See the module's documentation. */
export class RemoteMedia {
  duration = 0;
  tracks: RemoteTrack[] = [];
  #worker: Worker;
  #caller: Caller;
  #over = new AbortController();
  /** Answers that the worker owes, and that it is owed. */
  #owed = 0;
  #owing = 0;
  #silence: ReturnType<typeof setTimeout> | undefined;

  private constructor(worker: Worker, bytes: MediaBytes, plays: (type: string) => boolean) {
    this.#worker = worker;
    const post = (message: Question | Answer, transfer: Transferable[]): void => worker.postMessage(message, transfer);
    this.#caller = new Caller(post);
    const methods: Methods = {
      read: ({ signal }, offset: number, length: number) => this.#read(bytes.read(offset, length, AbortSignal.any([signal, this.#over.signal]))),
      plays: (_asked, type: string) => plays(type),
    };
    const responder = new Responder(methods, post);
    worker.onmessage = ({ data }: MessageEvent<Question | Answer>) => {
      this.#watch();
      if (data.t === 'ask' || data.t === 'abort') responder.hear(data);
      else this.#caller.hear(data);
    };
    worker.onerror = (event) => this.#end(new KollatorError('broken', `What plays files broke down: ${event.message || 'it did not start'}.`));
  }

  /** Opens a file, as `Media.open` does. */
  static async open(bytes: MediaBytes, plays: (type: string) => boolean, signal: AbortSignal, start = startMedia): Promise<RemoteMedia> {
    const media = new RemoteMedia(start(), bytes, plays);
    signal.addEventListener('abort', () => media.close(), { signal: media.#over.signal });
    if (signal.aborted) media.close();
    try {
      const { duration, types } = await media.#ask('open', [bytes.length]);
      media.duration = duration;
      media.tracks = types.map((type, at) => ({ type, seek: (time) => media.#ask('seek', [at, time]), next: () => media.#ask('next', [at]) }));
      return media;
    } catch (error) {
      media.close();
      throw error;
    }
  }

  /** Has whatever is being read fail with `aborted`, so that another place can be read. */
  giveUp(): void {
    this.#ask('giveUp', []).catch(() => undefined);
  }

  close(): void {
    this.#end(new KollatorError('aborted', 'It was stopped before it was done.'));
  }

  async #ask<M extends keyof MediaMethods>(method: M, args: Parameters<MediaMethods[M]>): Promise<ReturnType<MediaMethods[M]>> {
    this.#owed += 1;
    this.#watch();
    try {
      return await this.#caller.ask(method, args);
    } finally {
      this.#owed -= 1;
      this.#watch();
    }
  }

  async #read<T>(reading: Promise<T>): Promise<T> {
    this.#owing += 1;
    this.#watch();
    try {
      return await reading;
    } finally {
      this.#owing -= 1;
      this.#watch();
    }
  }

  /** Something happened. From now on the worker has to say something in time, if it has all that it wants. */
  #watch(): void {
    clearTimeout(this.#silence);
    if (this.#over.signal.aborted || this.#owed === 0 || this.#owing > 0) return;
    this.#silence = setTimeout(() => this.#end(unplayable('It is damaged: nothing can make sense of it.')), PATIENCE);
  }

  #end(error: KollatorError): void {
    this.#caller.end(error);
    this.#over.abort();
    this.#worker.terminate();
    clearTimeout(this.#silence);
  }
}
