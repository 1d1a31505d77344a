/**
 * What the page shows, told by the part of its address after `#`, which no browser sends to a server: the key of an
 * encrypted share is in it. Nothing here may put any of it into a path, a query or a request.
 */

/** What the page shows. */
export type Route =
  | { page: 'home' }
  | { page: 'files' }
  | { page: 'settings' }
  /** A share that is in this browser. */
  | { page: 'share'; infoHash: string }
  /** A link that was opened: the share it names may be new here. */
  | { page: 'link'; infoHash: string; link: string }
  /** Something that looks like a link cut short or mistyped. */
  | { page: 'broken'; reason: string };

/** Tells a link from other text, or says what is the matter with it. */
export type Pasted = { fragment: string } | { problem: string };

const INFO_HASH = /^[0-9a-f]{64}$/i;
const TOPIC = /[?&]xt=urn:btmh:1220([0-9a-f]{64})(?:&|$)/i;

/** The share that a fragment (without `#`) names: its info hash in lower case, if it begins with a whole one. */
function infoHashOf(fragment: string): string | undefined {
  const first = fragment.split('&', 1)[0] ?? '';
  if (INFO_HASH.test(first)) return first.toLowerCase();
  return TOPIC.exec(fragment)?.[1]?.toLowerCase();
}

/** Reads the fragment of the page's address, with or without its `#`. `origin` is where links of this page begin. */
export function routeOf(hash: string, origin: string): Route {
  const fragment = hash.startsWith('#') ? hash.slice(1) : hash;
  if (fragment === '' || fragment === '/') return { page: 'home' };
  if (fragment === '/files') return { page: 'files' };
  if (fragment === '/settings') return { page: 'settings' };
  if (fragment.startsWith('/share/')) {
    const infoHash = fragment.slice('/share/'.length);
    if (INFO_HASH.test(infoHash)) return { page: 'share', infoHash: infoHash.toLowerCase() };
  }
  const infoHash = infoHashOf(fragment);
  if (infoHash !== undefined) {
    const link = fragment.startsWith('magnet:') ? fragment : `${origin}/#${fragment}`;
    return { page: 'link', infoHash, link };
  }
  const first = fragment.split('&', 1)[0] ?? '';
  if (/^[0-9a-f]{8,}$/i.test(first)) {
    const reason =
      first.length < 64
        ? `It names a share with ${first.length} digits instead of 64: its end is missing.`
        : `It names a share with ${first.length} digits instead of 64.`;
    return { page: 'broken', reason };
  }
  return { page: 'broken', reason: 'It does not name a share.' };
}

/** The address of a share's page in this app, without a key. */
export function shareHref(infoHash: string): string {
  return `#/share/${infoHash}`;
}

/**
 * Reads what someone pasted: a share link of this or another front, a magnet link, or an info hash. The fragment
 * it gives opens it here; a link of another front keeps that front as a place to ask.
 */
export function pasted(text: string, origin: string): Pasted {
  const link = text.trim();
  if (link === '') return { problem: 'Paste a link first.' };
  if (INFO_HASH.test(link)) return { fragment: link };
  if (/^1220[0-9a-f]{64}$/i.test(link)) return { fragment: link.slice(4) };
  if (link.startsWith('magnet:')) {
    return infoHashOf(link) === undefined
      ? { problem: 'This magnet link is not of a Kollator or BitTorrent v2 share.' }
      : { fragment: link };
  }
  if (!/^https?:\/\//i.test(link)) return { problem: 'This is not a link to a share. It begins with https:// and has a # in it.' };
  const cut = link.indexOf('#');
  if (cut === -1 || cut === link.length - 1) {
    return { problem: 'The part after # is missing. Ask for the whole link.' };
  }
  const fragment = link.slice(cut + 1);
  if (infoHashOf(fragment) === undefined) {
    return { problem: 'This link is not whole. Copy it again, to the last character.' };
  }
  const front = link.slice(0, cut).replace(/\/+$/, '');
  const own = front.toLowerCase() === origin.toLowerCase();
  return { fragment: own ? fragment : `${fragment}&front=${encodeURIComponent(front)}` };
}
