/** How fast bytes go of late: the mean over a few seconds. */

/** Milliseconds that count as of late. */
const WINDOW = 4000;
/** Milliseconds in a bucket. */
const STEP = 250;

/** See the module's documentation. Times are milliseconds that never go back. */
export class Meter {
  total = 0;
  #buckets: Array<{ at: number; bytes: number }> = [];

  /** Counts `bytes` at `now`. */
  add(bytes: number, now: number): void {
    this.total += bytes;
    const at = Math.floor(now / STEP) * STEP;
    const last = this.#buckets.at(-1);
    if (last?.at === at) last.bytes += bytes;
    else this.#buckets.push({ at, bytes });
    this.#forget(now);
  }

  /** Counts what a running total has grown by. */
  grow(total: number, now: number): void {
    if (total > this.total) this.add(total - this.total, now);
  }

  /** Bytes a second. */
  speed(now: number): number {
    this.#forget(now);
    const first = this.#buckets[0];
    if (!first) return 0;
    const bytes = this.#buckets.reduce((sum, bucket) => sum + bucket.bytes, 0);
    // What has just begun is not taken for a trickle, nor for a flood.
    const span = Math.min(WINDOW, Math.max(1000, now - first.at));
    return Math.round((bytes * 1000) / span);
  }

  #forget(now: number): void {
    while (this.#buckets[0] && this.#buckets[0].at < now - WINDOW) this.#buckets.shift();
  }
}
