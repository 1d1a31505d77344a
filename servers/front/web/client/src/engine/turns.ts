/** Lets so many go at once; others wait for their turn, in order. */

/** See the module's documentation. */
export class Turns {
  #limit: number;
  #going = new Set<string>();
  #waiting = new Map<string, () => void>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Calls `begin` once there is room: at once, or when others are done. Asked for twice, it is still one turn. */
  ask(name: string, begin: () => void): void {
    if (this.#going.has(name)) return begin();
    this.#waiting.set(name, begin);
    this.#advance();
  }

  /** Whether it waits for its turn. */
  isWaiting(name: string): boolean {
    return this.#waiting.has(name);
  }

  /** It is over, or needs its turn no more. */
  done(name: string): void {
    this.#waiting.delete(name);
    this.#going.delete(name);
    this.#advance();
  }

  /** Changes how many may go at once. Those that go already go on. */
  setLimit(limit: number): void {
    this.#limit = limit;
    this.#advance();
  }

  #advance(): void {
    for (const [name, begin] of this.#waiting) {
      if (this.#going.size >= this.#limit) return;
      this.#waiting.delete(name);
      this.#going.add(name);
      begin();
    }
  }
}
