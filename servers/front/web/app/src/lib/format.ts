/**
 * Numbers as people read them: sizes, rates, times, shares of a whole. Pure functions of their arguments;
 * nothing here looks at the clock or the page.
 */

const UNITS = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'] as const;

/** A size in decimal units with at most three digits that matter: `0 B`, `999 B`, `1.5 KB`, `12.4 MB`, `318 GB`. */
export function bytes(count: number): string {
  if (!Number.isFinite(count) || count < 0) return '–';
  let value = count;
  let unit = 0;
  while (unit < UNITS.length - 1 && value >= 999.5) {
    value /= 1000;
    unit += 1;
  }
  if (unit === 0) return `${Math.round(value)} B`;
  return `${value < 99.95 ? value.toFixed(1) : value.toFixed(0)} ${UNITS[unit]}`;
}

/** A rate: `2.3 MB/s`. What is below one byte a second counts as nothing. */
export function rate(perSecond: number): string {
  return `${bytes(perSecond < 1 ? 0 : perSecond)}/s`;
}

/** A time to wait, coarser the longer it is, so that it does not flicker: `a few seconds`, `40 s`, `12 min`, `3 h 20 min`. */
export function duration(milliseconds: number): string {
  if (!Number.isFinite(milliseconds) || milliseconds < 0) return '–';
  const seconds = milliseconds / 1000;
  if (seconds < 5) return 'a few seconds';
  if (seconds < 60) return `${Math.ceil(seconds / 5) * 5} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) {
    const rest = Math.floor((minutes % 60) / 10) * 10;
    return rest === 0 ? `${hours} h` : `${hours} h ${rest} min`;
  }
  const days = Math.round(hours / 24);
  return days === 1 ? '1 day' : `${days} days`;
}

/** Whole percent of `total` that `done` is, rounded down: 100 only when nothing is missing. An unknown total is 0. */
export function percent(done: number, total: number): number {
  if (!(total > 0)) return 0;
  return Math.max(0, Math.min(100, Math.floor((done / total) * 100)));
}

/** A number of things: `1 file`, `3 files`, `1,204 chunks`. */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
}

/** How long ago a moment was, in words for a list. */
export function ago(then: number, now: number): string {
  const minutes = Math.floor((now - then) / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ago`;
  const days = Math.floor(hours / 24);
  return days === 1 ? 'yesterday' : `${days} days ago`;
}
