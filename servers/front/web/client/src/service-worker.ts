/**
 * The service worker: answers requests for files of shares (`/_share/INFO HASH/INDEX/NAME`, `?download` to save them),
 * with byte ranges, so that media elements and downloads work on a share that is still coming.
 *
 * It has no share itself: it asks the pages of this origin, and pulls bytes from the one that has it. It remembers
 * nothing from one request to the next, so that the browser may end and start it at any time. All other requests are
 * none of its business.
 */

import { GUARDED, answerFor, askedFile, isOfFiles, type AskedFile } from './file-response.ts';
import { streamOf, type ReadPart } from './stream.ts';
import type { FileQuestion, FromPage, ToPage } from './files.ts';

/** What of a service worker's scope TypeScript's library for pages lacks. */
interface Scope {
  addEventListener(type: 'install' | 'activate', listener: (event: { waitUntil(work: Promise<unknown>): void }) => void): void;
  addEventListener(type: 'fetch', listener: (event: FetchEvent) => void): void;
  addEventListener(type: 'message', listener: () => void): void;
  skipWaiting(): Promise<void>;
  clients: { claim(): Promise<void>; matchAll(options: object): Promise<Client[]> };
}
interface FetchEvent {
  request: Request;
  respondWith(response: Promise<Response>): void;
}
interface Client {
  postMessage(message: unknown, transfer: Transferable[]): void;
}

/** A page that has a file, and the way to it. */
interface Holder {
  port: MessagePort;
  name: string;
  length: number;
}

/** How long a page has to say whether it has a file: it may have just been opened. */
const PATIENCE = 10_000;
/** A page that is asked for bytes says every few seconds that it is there; after so long without, it is not. */
const SILENCE = 30_000;

const scope = globalThis as unknown as Scope;

scope.addEventListener('install', (event) => event.waitUntil(scope.skipWaiting()));
scope.addEventListener('activate', (event) => event.waitUntil(scope.clients.claim()));
// Pages that are read from send a word now and then, which keeps the browser from ending this worker in mid-file.
scope.addEventListener('message', () => undefined);
scope.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  if (url.origin !== location.origin || !isOfFiles(url)) return;
  const asked = askedFile(url);
  event.respondWith(asked ? answer(event.request, asked) : Promise.resolve(inWords(404, 'This is no file of a share.')));
});

async function answer(request: Request, asked: AskedFile): Promise<Response> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return inWords(405, 'A file of a share can only be read.');
  const pages = await scope.clients.matchAll({ type: 'window', includeUncontrolled: true });
  if (pages.length === 0) return inWords(503, 'No page of this site is open that could fetch this file. Open its link, then try again.');
  const holder = await firstOf(pages, asked);
  if (!holder) return inWords(404, 'No open page has this share, or it has no such file. Open its link, then try again.');
  const { status, headers, start, end } = answerFor(asked, holder.name, holder.length, request.headers);
  if (request.method === 'HEAD' || start === end) {
    leave(holder.port);
    return new Response(null, { status, headers });
  }
  return new Response(streamOf(puller(holder.port, end), start, end), { status, headers });
}

/** The first page that says that it has the file. */
async function firstOf(pages: Client[], asked: AskedFile): Promise<Holder | undefined> {
  let holder: Holder | undefined;
  const asking = pages.map(async (page) => {
    const { port1, port2 } = new MessageChannel();
    const said = hear(port1, PATIENCE);
    page.postMessage({ kollator: 'file', infoHash: asked.infoHash, file: asked.file } satisfies FileQuestion, [port2]);
    const { found } = await said.catch((): FromPage => ({}));
    if (!found || holder) {
      leave(port1);
      throw new Error('it is not here, or somewhere else too');
    }
    holder = { port: port1, ...found };
    return holder;
  });
  return Promise.any(asking).catch(() => undefined);
}

/** Pulls parts of a file, whose last byte wanted is before `end`, from a page, and tells it when no more are wanted. */
function puller(port: MessagePort, end: number): ReadPart {
  return async (offset, length, signal) => {
    signal.onabort = () => leave(port);
    const heard = hear(port, SILENCE);
    port.postMessage({ read: [offset, length] } satisfies ToPage);
    const { data, error } = await heard;
    if (!data || data.length === 0) throw new Error(error ?? 'the page sent nothing');
    if (offset + data.length >= end) leave(port);
    return data;
  };
}

/** The next thing a page says, but for that it is still at it; fails after `patience` ms of silence. */
function hear(port: MessagePort, patience: number): Promise<FromPage> {
  return new Promise((resolve, reject) => {
    const silent = (): void => reject(new Error('the page that has the file is gone'));
    let timer = setTimeout(silent, patience);
    port.onmessage = ({ data }: MessageEvent<FromPage>) => {
      clearTimeout(timer);
      if (data.waiting) timer = setTimeout(silent, patience);
      else resolve(data);
    };
  });
}

function leave(port: MessagePort): void {
  port.postMessage({ end: true } satisfies ToPage);
  port.close();
}

function inWords(status: number, words: string): Response {
  return new Response(words, { status, headers: { ...GUARDED, 'content-type': 'text/plain; charset=utf-8' } });
}
