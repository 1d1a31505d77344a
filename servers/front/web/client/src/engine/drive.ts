/**
 * Drives a machine: hands it inputs one at a time, carries its outputs to whoever executes them, and wakes it when it
 * wants to be woken. It decides nothing. An input that comes up while outputs are being carried out waits for its turn,
 * so that the machine is never entered twice.
 */

import type { Input, Output } from '../machine-types.ts';

/** What is driven: a machine without a clock or a network of its own. */
export interface Driven {
  handle(now: number, header: Input, payload?: Uint8Array): void;
  poll(): Iterable<{ header: Output; payload: Uint8Array }>;
  nextWake(): number | undefined;
}

/** Bytes that are nobody else's at the same time. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** Time and timers. */
export interface Clock {
  /** Milliseconds since any moment; never goes back. */
  now(): number;
  after(milliseconds: number, run: () => void): unknown;
  cancel(timer: unknown): void;
}

/** The browser's own. */
export const CLOCK: Clock = {
  now: () => performance.now(),
  after: (milliseconds, run) => setTimeout(run, milliseconds),
  cancel: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
};

/** Longest delay that a timer of the browser keeps; a longer one would fire at once. */
const LONGEST_DELAY = 2 ** 31 - 1;

/** See the module's documentation. */
export class Drive {
  #machine: Driven;
  #execute: (output: Output, payload: Bytes) => void;
  #refused: (input: Input, error: unknown) => void;
  #clock: Clock;
  #began: number;
  #waiting: Array<[Input, Uint8Array | undefined]> = [];
  #isDriving = false;
  #isOver = false;
  #timer: unknown;
  #timerAt: number | undefined;

  /**
   * `execute` is given payloads in the machine's own memory, which hold until it returns; copying every one of them would
   * cost more than all that the machine does. `refused` hears of inputs that the machine would not take.
   */
  constructor(
    machine: Driven,
    execute: (output: Output, payload: Bytes) => void,
    refused: (input: Input, error: unknown) => void,
    clock: Clock = CLOCK,
  ) {
    this.#machine = machine;
    this.#execute = execute;
    this.#refused = refused;
    this.#clock = clock;
    this.#began = clock.now();
  }

  /** Milliseconds since the machine began. */
  now(): number {
    return this.#clock.now() - this.#began;
  }

  /** Hands the machine an input, and carries out what comes of it. */
  input(input: Input, payload?: Uint8Array): void {
    if (this.#isOver) return;
    this.#waiting.push([input, payload]);
    if (this.#isDriving) return;
    this.#isDriving = true;
    try {
      for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) {
        try {
          this.#machine.handle(this.now(), ...next);
        } catch (error) {
          this.#refused(next[0], error);
        }
        for (const { header, payload } of this.#machine.poll()) this.#execute(header, payload as Bytes);
      }
    } finally {
      this.#isDriving = false;
    }
    this.#setTimer();
  }

  /** Ends it: no input reaches the machine any more. */
  end(): void {
    this.#isOver = true;
    this.#waiting = [];
    this.#clock.cancel(this.#timer);
  }

  /** Sets the timer if it would come too late. One that comes too early is set anew then: wakes move with every input. */
  #setTimer(): void {
    const at = this.#isOver ? undefined : this.#machine.nextWake();
    if (at === undefined || (this.#timerAt !== undefined && this.#timerAt <= at)) return;
    this.#clock.cancel(this.#timer);
    this.#timerAt = at;
    const delay = Math.min(LONGEST_DELAY, Math.max(0, Math.ceil(at - this.now())));
    this.#timer = this.#clock.after(delay, () => this.#wake());
  }

  #wake(): void {
    this.#timerAt = undefined;
    const at = this.#machine.nextWake();
    if (at !== undefined && at <= this.now()) this.input({ t: 'wake' });
    else this.#setTimer();
  }
}
