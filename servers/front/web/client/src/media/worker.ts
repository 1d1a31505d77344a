/**
 * The worker that takes media files apart. A file may be made to keep whoever reads it busy for ever: here that stops
 * nothing but this worker, which is ended then. It gets bytes from the page that started it, and has nothing else.
 */

import { type Answer, type Asked, Caller, type Question, Responder } from '../rpc.ts';
import { aborted } from '../errors.ts';
import type { MediaMethods, PageMethods } from './remote.ts';
import { Media } from './segments.ts';
import { told } from './unplayable.ts';

const scope = globalThis as unknown as { onmessage: unknown; postMessage(message: Question | Answer, transfer: Transferable[]): void };
const tell = (message: Question | Answer, transfer: Transferable[]): void => scope.postMessage(message, transfer);
const page = new Caller(tell);
const reads = new AbortController();
let media: Media | undefined;

const ask = <M extends keyof PageMethods>(method: M, args: Parameters<PageMethods[M]>, signal?: AbortSignal): Promise<ReturnType<PageMethods[M]>> =>
  page.ask(method, args, signal);

const methods: { [M in keyof MediaMethods]: (asked: Asked, ...args: Parameters<MediaMethods[M]>) => Promise<ReturnType<MediaMethods[M]>> } = {
  open: (_asked, length) =>
    telling(async () => {
      media = await Media.open({ length, read: (offset, bytes, signal) => ask('read', [offset, bytes], signal) }, (type) => ask('plays', [type]), reads.signal);
      return { duration: media.duration, types: media.tracks.map(({ type }) => type) };
    }),
  seek: (_asked, track, time) => telling(async () => media!.tracks[track]!.seek(time)),
  next: (_asked, track) => telling(async () => media!.tracks[track]!.next()),
  giveUp: async () => media?.giveUp(),
};

const responder = new Responder(methods as Record<string, (asked: Asked, ...args: never[]) => unknown>, tell);

scope.onmessage = ({ data }: MessageEvent<Question | Answer>): void => {
  if (data.t === 'ask' || data.t === 'abort') responder.hear(data);
  else page.hear(data);
};

/** Has what fails say so in words for the user. */
async function telling<T>(task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    throw error instanceof DOMException && error.name === 'AbortError' ? aborted() : told(error);
  }
}
