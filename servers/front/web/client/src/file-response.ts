/**
 * What the service worker answers for a file: status and headers, of a request and of what is known of the file. A file
 * of a share may be anything, and its address is of the page's own origin: so nothing may ever run as a part of it.
 */

/** Where files of shares are found, below the page's origin. */
const FILES = '/_share/';

/** Which file of which share a URL names. */
export interface AskedFile {
  infoHash: string;
  file: number;
  download: boolean;
}

/** What to answer with. `start` and `end`: which bytes of the file are the body, if there is one. */
export interface Answer {
  status: number;
  headers: Record<string, string>;
  start: number;
  end: number;
}

/** The only types that browsers show without running anything; all else is mere bytes. */
const TYPES: Record<string, string> = {
  aac: 'audio/aac',
  apng: 'image/apng',
  avif: 'image/avif',
  bmp: 'image/bmp',
  flac: 'audio/flac',
  gif: 'image/gif',
  jpeg: 'image/jpeg',
  jpg: 'image/jpeg',
  m4a: 'audio/mp4',
  m4v: 'video/mp4',
  mkv: 'video/x-matroska',
  mov: 'video/quicktime',
  mp3: 'audio/mpeg',
  mp4: 'video/mp4',
  oga: 'audio/ogg',
  ogg: 'audio/ogg',
  ogv: 'video/ogg',
  opus: 'audio/ogg',
  pdf: 'application/pdf',
  png: 'image/png',
  txt: 'text/plain; charset=utf-8',
  wav: 'audio/wav',
  weba: 'audio/webm',
  webm: 'video/webm',
  webp: 'image/webp',
};

/** The file that `url` names, if it names one. */
export function askedFile(url: URL): AskedFile | undefined {
  const [, infoHash, file] = /^\/_share\/([0-9a-f]{64})\/(\d{1,7})(?:\/|$)/.exec(url.pathname) ?? [];
  if (infoHash === undefined || file === undefined) return undefined;
  return { infoHash, file: Number(file), download: url.searchParams.has('download') };
}

/** Whether `url` is one of those that the service worker answers. */
export function isOfFiles(url: URL): boolean {
  return url.pathname.startsWith(FILES);
}

/** The type of a file called `name`. */
export function typeOf(name: string): string {
  const [, extension = ''] = /\.([^.]+)$/.exec(name) ?? [];
  const type = extension.toLowerCase();
  return Object.hasOwn(TYPES, type) ? TYPES[type]! : 'application/octet-stream';
}

/** The answer to a request with these headers for a file of `length` bytes called `name`. */
export function answerFor(asked: AskedFile, name: string, length: number, request: Headers): Answer {
  const tag = `"${asked.infoHash}-${asked.file}"`;
  const range = (request.get('if-range') ?? tag) === tag ? rangeOf(request.get('range'), length) : undefined;
  const type = typeOf(name);
  const kind = asked.download || type === 'application/octet-stream' ? 'attachment' : 'inline';
  const headers: Record<string, string> = {
    ...GUARDED,
    'accept-ranges': 'bytes',
    'content-disposition': `${kind}; filename*=UTF-8''${encoded(name)}`,
    'content-type': type,
    etag: tag,
  };
  if (range === 'unsatisfiable') {
    return { status: 416, headers: { ...headers, 'content-range': `bytes */${length}`, 'content-length': '0' }, start: 0, end: 0 };
  }
  const [start, end] = range ?? [0, length];
  headers['content-length'] = String(end - start);
  if (range) headers['content-range'] = `bytes ${start}-${end - 1}/${length}`;
  return { status: range ? 206 : 200, headers, start, end };
}

/** Headers of whatever comes from a share, or speaks of one. */
export const GUARDED: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; sandbox",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

/**
 * First byte, and one past the last, that a `Range` header asks of `length` bytes. None if there is no such header, or
 * one for several ranges or of another form: then all of it is sent.
 */
export function rangeOf(header: string | null, length: number): [start: number, end: number] | 'unsatisfiable' | undefined {
  const [, first, last] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? '') ?? [];
  if (first === undefined || last === undefined || (first === '' && last === '')) return undefined;
  if (first === '') {
    const most = Math.min(Number(last), length);
    return most === 0 ? 'unsatisfiable' : [length - most, length];
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return undefined;
  if (start >= length) return 'unsatisfiable';
  return [start, last === '' ? length : Math.min(Number(last) + 1, length)];
}

/** `name` as headers have it (RFC 8187). */
function encoded(name: string): string {
  return encodeURIComponent(name.toWellFormed()).replace(/['()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);
}
