/**
 * Files of shares as addresses of the page's own origin, for media elements and for saving: the page's half of the
 * service worker. The worker asks all pages; the one that has the share reads it, decrypts it and hands it over, part
 * by part as it is asked.
 */

type Bytes = Uint8Array<ArrayBuffer>;

/** The service worker asks a page for a file; a port comes with it. */
export interface FileQuestion {
  kollator: 'file';
  infoHash: string;
  file: number;
}

/** What the service worker says through that port. */
export interface ToPage {
  /** Offset and length of a part of the file. */
  read?: [offset: number, length: number];
  /** No more is wanted. */
  end?: true;
}

/** What the page says through that port. Nothing at all: it does not have the file. */
export interface FromPage {
  /** It has the file. */
  found?: { name: string; length: number };
  /** The part that was asked for. */
  data?: Bytes;
  /** Why there is none. */
  error?: string;
  /** The part is still being fetched. */
  waiting?: true;
}

/** The shares of this page. */
export interface FileSource {
  /** Name and length of a file, if this page, and no other one, works on the share. May wait until that is known. */
  find(infoHash: string, file: number): Promise<{ name: string; length: number } | undefined>;
  /** Bytes of a file, at most 512 KiB, as its reader knows it; waits for those that are not here. */
  read(part: { infoHash: string; file: number; offset: number; length: number }, signal: AbortSignal): Promise<Bytes>;
}

/** How often to say that a part is still being fetched, and to keep the service worker awake, in milliseconds. */
const HEARTBEAT = 5_000;

/** The address of a file of a share, once the service worker is there; with `download` it is saved rather than shown. */
export function fileUrl(infoHash: string, file: number, name: string, options: { download?: boolean } = {}): string {
  return `/_share/${infoHash}/${file}/${encodeURIComponent(name.toWellFormed())}${options.download ? '?download' : ''}`;
}

/** Answers the service worker's questions until the returned function is called. */
export function serveFiles(container: ServiceWorkerContainer, source: FileSource): () => void {
  const stop = new AbortController();
  container.addEventListener(
    'message',
    (event) => {
      const question = event.data as FileQuestion | undefined;
      const [port] = event.ports;
      if (question?.kollator === 'file' && port) serveFile(question, port, event.source as ServiceWorker | null, source, stop.signal);
    },
    { signal: stop.signal },
  );
  container.startMessages();
  return () => stop.abort();
}

function serveFile(
  { infoHash, file }: FileQuestion,
  port: MessagePort,
  worker: ServiceWorker | null,
  source: FileSource,
  stopped: AbortSignal,
): void {
  const say = (words: FromPage, transfer: Transferable[] = []): void => port.postMessage(words, transfer);
  const end = new AbortController();
  const heartbeat = setInterval(() => {
    say({ waiting: true });
    worker?.postMessage({ kollator: 'awake' });
  }, HEARTBEAT);
  end.signal.addEventListener('abort', () => {
    clearInterval(heartbeat);
    port.close();
  });
  stopped.addEventListener('abort', () => end.abort(), { signal: end.signal });
  // Browsers that have this event thereby say that the service worker was ended.
  port.addEventListener('close', () => end.abort());
  port.onmessage = ({ data }: MessageEvent<ToPage>) => {
    if (data.end) end.abort();
    if (!data.read) return;
    const [offset, length] = data.read;
    source.read({ infoHash, file, offset, length }, end.signal).then(
      // A copy where the bytes are a part of something larger, which must not be taken away from its owner.
      (bytes) => {
        const data = bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
        say({ data }, [data.buffer]);
      },
      (error: unknown) => say({ error: error instanceof Error ? error.message : String(error) }),
    );
  };
  source.find(infoHash, file).then(
    (found) => {
      say(found ? { found: { name: found.name, length: found.length } } : {});
      if (!found) end.abort();
    },
    () => {
      say({});
      end.abort();
    },
  );
}
