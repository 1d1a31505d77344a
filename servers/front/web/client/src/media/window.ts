/**
 * Decides what a player does next: how far ahead of the playing place tracks are fed, what lies so far behind that it is
 * dropped, and when feeding has to begin anew somewhere else. Pure functions of numbers; times are seconds.
 */

/** What a track was fed since the feeding last began anew, as far as it was not dropped. */
export interface Reach {
  /** Never later than what the feeding began anew for, unless that was dropped. */
  from: number;
  until: number;
  /** There is nothing more of it. */
  ended: boolean;
}

/** What to do next: feed that track, begin anew at the playing place, finish, or wait for something to change. */
export type Step = { feed: number } | 'jump' | 'finish' | 'wait';

/** Seconds that a track is fed ahead, where the browser has room for them. */
export const AHEAD = 30;
/** Seconds behind the playing place that may be wanted again. */
export const BEHIND = 15;
/** Browsers play over gaps as small as this. */
const EDGE = 0.1;

/** The next step of a player at `time`, whose feeding last began anew for `goal`. */
export function nextStep(time: number, goal: number, reaches: readonly Reach[], ahead: number): Step {
  if (!isInReach(time, goal, reaches)) return 'jump';
  const open = reaches.map((reach, feed) => ({ ...reach, feed })).filter(({ ended }) => !ended);
  const least = open.reduce((a, b) => (b.until < a.until ? b : a), open[0]!);
  if (!least) return 'finish';
  // Where one track is over, browsers play on only once all are.
  const isTail = open.length < reaches.length;
  return least.until < time + ahead || isTail ? { feed: least.feed } : 'wait';
}

/** Whether feeding from where it is leads to `time`. */
export function isInReach(time: number, goal: number, reaches: readonly Reach[]): boolean {
  return reaches.every(({ from, until, ended }) => time >= from - EDGE && (ended || time <= Math.max(until, goal) + EDGE));
}

/**
 * Where to go on from a hole that playing has come to, although the track was fed past it: `here` if it plays; none if
 * nothing is known that plays, because the browser dropped it or is not done with it.
 */
export function overHole(time: number, { until }: Reach, ranges: readonly (readonly [from: number, until: number])[]): number | 'here' | undefined {
  if (until <= time + 1 || ranges.some(([start, end]) => start - EDGE <= time && time < end)) return 'here';
  const [next] = ranges.filter(([start]) => start > time).sort(([a], [b]) => a - b);
  return next?.[0];
}

/** Up to where a track may be dropped, at a place that begins a segment, of which `starts` are all; none if not worth it. */
export function droppable(time: number, starts: readonly number[], behind: number): number | undefined {
  const last = starts.findLast((start) => start <= time - behind);
  return last !== undefined && last > starts[0]! ? last : undefined;
}
