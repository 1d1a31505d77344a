/**
 * Plays a file of a share in a media element where there is no service worker to give it an address: feeds it through
 * Media Source Extensions. It reads what is about to be played and nothing else, and holds a limited number of seconds.
 *
 * All work is done by one loop, a step at a time; events only wake it.
 */

import { KollatorError } from '../errors.ts';
import { RemoteMedia, type RemoteTrack } from './remote.ts';
import type { MediaBytes, Segment } from './segments.ts';
import { told, unplayable } from './unplayable.ts';
import { AHEAD, BEHIND, droppable, isInReach, nextStep, overHole, type Reach } from './window.ts';

/** What the loop may have been waiting for. */
const WAKES = ['seeking', 'timeupdate', 'waiting', 'error'] as const;
/** Before the start of a segment, so that browsers find that start when they look for one to keep. */
const HAIR = 0.001;
/** How much of what a full browser holds ahead is fed ahead from then on. */
const SHRINK = 0.75;
/** Fewest seconds to feed ahead; a browser that has no room for that much cannot play the file. */
const LEAST_AHEAD = 1;

/**
 * Plays the file until `signal` aborts. Fails with a {@link KollatorError}: `unplayable` if this browser
 * cannot play it, or what reading it failed at.
 */
export async function play(element: HTMLMediaElement, bytes: MediaBytes, signal: AbortSignal): Promise<void> {
  if (typeof MediaSource === 'undefined') throw unplayable('This browser cannot play files while they come in.');
  const source = new MediaSource();
  const url = URL.createObjectURL(source);
  let media: RemoteMedia | undefined;
  try {
    media = await RemoteMedia.open(bytes, (type) => MediaSource.isTypeSupported(type), signal);
    await opened(source, element, url, signal);
    await new Player(element, source, media, signal).run();
  } catch (error) {
    if (!signal.aborted) throw told(error);
  } finally {
    media?.close();
    URL.revokeObjectURL(url);
    element.removeAttribute('src');
    element.load();
  }
}

class Player {
  #element: HTMLMediaElement;
  #source: MediaSource;
  #media: RemoteMedia;
  #signal: AbortSignal;
  #feeds: Feed[];
  /** What the feeding last began anew for. */
  #goal = 0;
  #ahead = AHEAD;
  #wake: () => void = () => undefined;

  constructor(element: HTMLMediaElement, source: MediaSource, media: RemoteMedia, signal: AbortSignal) {
    this.#element = element;
    this.#source = source;
    this.#media = media;
    this.#signal = signal;
    this.#feeds = media.tracks.map((track) => new Feed(track, source.addSourceBuffer(track.type)));
    source.duration = media.duration;
  }

  async run(): Promise<void> {
    const over = new AbortController();
    for (const name of WAKES) this.#element.addEventListener(name, () => this.#stir(), { signal: over.signal });
    this.#signal.addEventListener('abort', () => this.#wake(), { signal: over.signal });
    try {
      await this.#jump();
      while (!this.#signal.aborted) await this.#step();
    } finally {
      over.abort();
    }
  }

  /** Something changed. What is being read for another place than the one that is wanted now is given up. */
  #stir(): void {
    if (!isInReach(this.#element.currentTime, this.#goal, this.#feeds)) this.#media.giveUp();
    this.#wake();
  }

  async #step(): Promise<void> {
    const { error, currentTime: time } = this.#element;
    if (error) throw unplayable(`It cannot be decoded: ${error.message || `error ${error.code}`}.`);
    for (const feed of this.#feeds) {
      await feed.drop(time, BEHIND);
      const on = overHole(time, feed, feed.ranges());
      if (on === 'here') continue;
      // What the browser dropped is there again once it is fed anew. A hole that is there still is one of the file.
      if (this.#goal !== time) return this.#jump();
      if (on !== undefined) this.#element.currentTime = on + HAIR;
    }
    const step = nextStep(this.#element.currentTime, this.#goal, this.#feeds, this.#ahead);
    if (step === 'jump') return this.#jump();
    if (step === 'finish' && this.#source.readyState === 'open') this.#source.endOfStream();
    if (step === 'finish' || step === 'wait') return this.#changed();
    await this.#feed(this.#feeds[step.feed]!);
  }

  /** Feeding begins anew at the playing place. Nothing that was fed is kept, so that it is always in one piece. */
  async #jump(): Promise<void> {
    this.#goal = this.#element.currentTime;
    try {
      for (const feed of this.#feeds) await feed.restart(this.#source, this.#goal);
    } catch (error) {
      throwUnlessGivenUp(error);
    }
  }

  async #feed(feed: Feed): Promise<void> {
    let segment: Segment | undefined;
    try {
      segment = await feed.next();
    } catch (error) {
      return throwUnlessGivenUp(error);
    }
    while (segment && !(await feed.append(segment))) {
      // The browser is full.
      const time = this.#element.currentTime;
      this.#ahead = Math.max(LEAST_AHEAD, (feed.until - time) * SHRINK);
      if (await feed.drop(time, 0)) continue;
      if (feed.until < time + LEAST_AHEAD) throw unplayable('This browser has no room to play it.');
      await this.#changed();
      if (this.#signal.aborted || !isInReach(this.#element.currentTime, this.#goal, this.#feeds)) return;
    }
  }

  #changed(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }
}

/** A track and the source buffer that it is fed to. */
class Feed implements Reach {
  from = 0;
  until = 0;
  ended = false;
  #track: RemoteTrack;
  #buffer: SourceBuffer;
  #starts: number[] = [];
  #hasHeader = false;

  constructor(track: RemoteTrack, buffer: SourceBuffer) {
    this.#track = track;
    this.#buffer = buffer;
  }

  /** Drops everything, and goes to where decoding has to begin for `time`. */
  async restart(source: MediaSource, time: number): Promise<void> {
    if (source.readyState === 'open') this.#buffer.abort();
    await this.#updated(() => this.#buffer.remove(0, Infinity));
    this.#hasHeader = false;
    this.#starts = [];
    this.ended = false;
    this.from = this.until = time;
    this.until = await this.#track.seek(time);
    this.from = Math.min(time, this.until);
  }

  /** What is to be fed next; nothing at the end. */
  async next(): Promise<Segment | undefined> {
    const segment = await this.#track.next();
    this.ended = segment === undefined;
    return segment;
  }

  /** Whether the browser had room for it. */
  async append({ header, media, from, until }: Segment): Promise<boolean> {
    try {
      if (!this.#hasHeader && header.length > 0) await this.#updated(() => this.#buffer.appendBuffer(header));
      this.#hasHeader = true;
      // Media without times of its own is played in the order in which it comes, from the place that it is given here.
      if (this.#buffer.mode === 'sequence') this.#buffer.timestampOffset = from;
      await this.#updated(() => this.#buffer.appendBuffer(media));
    } catch (error) {
      if (error instanceof DOMException && error.name === 'QuotaExceededError') return false;
      throw error;
    }
    this.#starts.push(from);
    this.until = Math.max(this.until, until);
    return true;
  }

  /** Drops what lies more than `behind` seconds before `time`; whether there was any. */
  async drop(time: number, behind: number): Promise<boolean> {
    const end = droppable(time, this.#starts, behind);
    if (end === undefined) return false;
    // Only whole segments: browsers drop on to the next picture that stands for itself, which may be past `time`.
    await this.#updated(() => this.#buffer.remove(0, end - HAIR));
    this.#starts = this.#starts.filter((start) => start >= end);
    this.from = end;
    return true;
  }

  /** What the browser holds. */
  ranges(): Array<[from: number, until: number]> {
    const { buffered } = this.#buffer;
    return Array.from({ length: buffered.length }, (_, at) => [buffered.start(at), buffered.end(at)]);
  }

  /** Does what takes a source buffer a while. */
  #updated(begin: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = new AbortController();
      const end = (settle: () => void) => (): void => {
        done.abort();
        settle();
      };
      const refused = unplayable('This browser cannot decode it.');
      this.#buffer.addEventListener('error', end(() => reject(refused)), { signal: done.signal });
      this.#buffer.addEventListener('updateend', end(resolve), { signal: done.signal });
      try {
        begin();
      } catch (error) {
        end(() => reject(error as Error))();
      }
    });
  }
}

/** Ties the source to the element. */
function opened(source: MediaSource, element: HTMLMediaElement, url: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    source.addEventListener('sourceopen', () => resolve(), { once: true });
    element.src = url;
  });
}

function throwUnlessGivenUp(error: unknown): void {
  if (!(error instanceof KollatorError && error.code === 'aborted')) throw error;
}
