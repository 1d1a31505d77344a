/**
 * What the user chose, remembered in this browser only. What is stored is read as anything from outside is: a value
 * that makes no sense is passed over and the default taken.
 */

/** The user's choices. */
export interface Preferences {
  theme: 'auto' | 'light' | 'dark';
  /** Whether new shares are encrypted. */
  encrypt: boolean;
  /** Bytes a second, 0: no limit. */
  uploadLimit: number;
  downloadLimit: number;
  relayOnly: boolean;
  /** Milliseconds to serve others after a share is complete. */
  seedingTime: number;
}

/** What holds before anything is chosen. */
export const DEFAULTS: Readonly<Preferences> = {
  theme: 'auto',
  encrypt: true,
  uploadLimit: 0,
  downloadLimit: 0,
  relayOnly: false,
  seedingTime: 3_600_000,
};

const KEY = 'kollator.preferences';
const LARGEST_LIMIT = 1e12;
const LONGEST_SEEDING = 30 * 24 * 3_600_000;

/** The part of `localStorage` that is used. */
export type Memory = Pick<Storage, 'getItem' | 'setItem'>;

/** What this page may remember things in; nothing where the user lets pages keep nothing. */
export function ownStorage(page: { readonly localStorage?: Memory } = globalThis): Memory | undefined {
  try {
    return page.localStorage;
  } catch {
    return undefined;
  }
}

/** Reads the choices; a browser that allows no storage has the defaults. */
export function remembered(memory: Memory | undefined): Preferences {
  let stored: unknown;
  try {
    stored = JSON.parse(memory?.getItem(KEY) ?? 'null');
  } catch {
    stored = null;
  }
  const from = (typeof stored === 'object' && stored !== null ? stored : {}) as Record<string, unknown>;
  return {
    theme: from.theme === 'light' || from.theme === 'dark' ? from.theme : DEFAULTS.theme,
    encrypt: typeof from.encrypt === 'boolean' ? from.encrypt : DEFAULTS.encrypt,
    uploadLimit: within(from.uploadLimit, LARGEST_LIMIT, DEFAULTS.uploadLimit),
    downloadLimit: within(from.downloadLimit, LARGEST_LIMIT, DEFAULTS.downloadLimit),
    relayOnly: typeof from.relayOnly === 'boolean' ? from.relayOnly : DEFAULTS.relayOnly,
    seedingTime: within(from.seedingTime, LONGEST_SEEDING, DEFAULTS.seedingTime),
  };
}

/** Keeps the choices; where that is not allowed they last as long as the page. */
export function remember(memory: Memory | undefined, preferences: Preferences): void {
  try {
    memory?.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // Private windows and full disks refuse; the page works without.
  }
}

function within(value: unknown, largest: number, otherwise: number): number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 && value <= largest ? value : otherwise;
}

/** A limit as typed in megabytes a second, in bytes; empty is no limit. `undefined` for what is no limit at all. */
export function limitFrom(text: string): number | undefined {
  const trimmed = text.trim().replace(',', '.');
  if (trimmed === '') return 0;
  if (!/^\d+(\.\d+)?$/.test(trimmed)) return undefined;
  const limit = Math.round(Number(trimmed) * 1e6);
  return limit <= LARGEST_LIMIT ? limit : undefined;
}

/** A limit in bytes as it is typed in megabytes; none is empty. */
export function limitText(limit: number): string {
  return limit === 0 ? '' : String(limit / 1e6);
}
