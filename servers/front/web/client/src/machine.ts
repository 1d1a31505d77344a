/**
 * The peer's machine, a WebAssembly module, as a class: headers go in and out as JSON, payloads as bytes. It knows no
 * network, no disk and no clock, and must never wait for any. The crate `kollator-machine` documents the boundary.
 */

import { KollatorError } from './errors.ts';
import type { Calls, Input, MachineConfig, Output } from './machine-types.ts';
import type { ErrorCode } from './types.ts';

/** The module's exports. */
interface Exports {
  memory: WebAssembly.Memory;
  reserve(length: number): number;
  start(length: number): number;
  handle(now: number, headerLength: number, totalLength: number): number;
  poll(): number;
  call(headerLength: number, totalLength: number): number;
  output(): number;
  next_wake(): number;
  panic_message(): number;
}

/** An output, or the answer of a call. The payload is a view that holds until the machine is called again. */
export interface Said<Header> {
  header: Header;
  payload: Uint8Array;
}

/** Room for headers of usual length. */
const SCRATCH = 4096;
const EMPTY = new Uint8Array(0);

/** One machine. Whatever its methods throw is a {@link KollatorError}; after one of a trap it is of no use any more. */
export class Machine {
  readonly #exports: Exports;
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder('utf-8', { fatal: true });
  readonly #scratch = new Uint8Array(SCRATCH);
  /** A view of all memory; made anew when memory has grown. */
  #memory: Uint8Array = EMPTY;

  private constructor(exports: Exports) {
    this.#exports = exports;
  }

  /** A machine from the module, which `fetch` or a test read. */
  static async load(module: WebAssembly.Module | BufferSource): Promise<Machine> {
    const compiled = module instanceof WebAssembly.Module ? module : await WebAssembly.compile(module);
    const instance = await WebAssembly.instantiate(compiled, {});
    return new Machine(instance.exports as unknown as Exports);
  }

  /** Starts it: its time begins. To be called once, before `handle`. */
  start(config: MachineConfig): void {
    const { total } = this.#write(config, EMPTY);
    this.#check(this.#run(() => this.#exports.start(total)));
  }

  /**
   * Tells it what happened `now` milliseconds after it was started. Then ask {@link poll} what to do. An input that makes
   * no sense throws and changes nothing.
   */
  handle(now: number, header: Input, payload: Uint8Array | string = EMPTY): void {
    const { cut, total } = this.#write(header, payload);
    this.#check(this.#run(() => this.#exports.handle(now, cut, total)));
  }

  /** What it wants done, in order. A payload must be used, or copied, before the machine is called again in any way. */
  *poll(): Generator<Said<Output>> {
    for (;;) {
      const length = this.#run(() => this.#exports.poll());
      if (length === 0) return;
      yield this.#read<Output>(length);
    }
  }

  /** When it wants the input `wake` if nothing happens before: milliseconds since the start. */
  nextWake(): number | undefined {
    const at = this.#run(() => this.#exports.next_wake());
    return at < 0 ? undefined : at;
  }

  /** Answers a question; changes nothing. Only `progress`, `sources` and `counters` need a machine that was started. */
  call<K extends keyof Calls>(
    header: { t: K } & Calls[K]['takes'],
    payload: Uint8Array = EMPTY,
  ): { ok: Calls[K]['ok']; payload: Uint8Array } {
    const { cut, total } = this.#write(header, payload);
    const length = this.#run(() => this.#exports.call(cut, total));
    const said = this.#read<{ ok: Calls[K]['ok'] } | { error: { code: ErrorCode; message: string } }>(length);
    if ('error' in said.header) throw new KollatorError(said.header.error.code, said.header.error.message);
    return { ok: said.header.ok, payload: said.payload };
  }

  /** Writes header and payload into the module's memory: how long the header is, and both. */
  #write(header: object, payload: Uint8Array | string): { cut: number; total: number } {
    const json = JSON.stringify(header);
    // No character takes more than three bytes for each of its UTF-16 units.
    const isShort = json.length * 3 <= SCRATCH;
    const cut = isShort ? this.#encoder.encodeInto(json, this.#scratch).written : 0;
    const head = isShort ? this.#scratch.subarray(0, cut) : this.#encoder.encode(json);
    const body = typeof payload === 'string' ? this.#encoder.encode(payload) : payload;
    const total = head.length + body.length;
    const at = this.#run(() => this.#exports.reserve(total)) >>> 0;
    if (at === 0) throw new KollatorError('broken', `An input of ${total} bytes is too long.`);
    const memory = this.#view();
    memory.set(head, at);
    memory.set(body, at + head.length);
    return { cut: head.length, total };
  }

  /** Reads what the module has put out: a header's length, the header, a payload. */
  #read<Header>(length: number): Said<Header> {
    const at = this.#exports.output() >>> 0;
    const memory = this.#view();
    const cut = memory[at]! | (memory[at + 1]! << 8) | (memory[at + 2]! << 16) | (memory[at + 3]! << 24);
    const header = JSON.parse(this.#decoder.decode(memory.subarray(at + 4, at + 4 + cut))) as Header;
    return { header, payload: memory.subarray(at + 4 + cut, at + length) };
  }

  /** Throws the error text that the module has put out, if there is one. */
  #check(length: number): void {
    if (length > 0) throw new KollatorError('broken', this.#text(length));
  }

  #text(length: number): string {
    const at = this.#exports.output() >>> 0;
    return this.#decoder.decode(this.#view().subarray(at, at + length));
  }

  #view(): Uint8Array {
    const { buffer } = this.#exports.memory;
    if (this.#memory.buffer !== buffer) this.#memory = new Uint8Array(buffer);
    return this.#memory;
  }

  /** Calls the module; a trap becomes an error that says what the module died of. */
  #run(enter: () => number): number {
    try {
      return enter();
    } catch (cause) {
      const length = this.#exports.panic_message();
      const why = length > 0 ? this.#text(length) : String(cause);
      throw new KollatorError('broken', `The machine broke down: ${why}`, { cause });
    }
  }
}
