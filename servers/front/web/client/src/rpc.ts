/**
 * Questions and answers between the page and the engine's worker, over anything that carries messages. It knows nothing
 * of shares. An answer always comes: an error crosses as plain data, and an aborted signal reaches the other side.
 */

import { KollatorError } from './errors.ts';
import type { ErrorCode } from './types.ts';

/** An error as it is sent to another thread. */
export interface PlainError {
  code: ErrorCode;
  message: string;
}

/** From whoever asks. */
export type Question =
  | { t: 'ask'; id: number; method: string; args: unknown[] }
  | { t: 'abort'; id: number };

/** To whoever asked. */
export type Answer =
  | { t: 'answer'; id: number; value: unknown }
  | { t: 'error'; id: number; error: PlainError }
  | { t: 'note'; id: number; note: unknown };

/** What of an error is sent to another thread. What nobody threw on purpose is a fault of this library: `broken`. */
export function toPlain(error: unknown): PlainError {
  if (error instanceof KollatorError) return { code: error.code, message: error.message };
  if (error instanceof DOMException && error.name === 'AbortError') {
    return { code: 'aborted', message: 'It was stopped before it was done.' };
  }
  return { code: 'broken', message: error instanceof Error ? error.message : String(error) };
}

interface Open {
  resolve(value: unknown): void;
  reject(error: unknown): void;
  onNote: ((note: never) => void) | undefined;
  done(): void;
}

/** The side that asks. */
export class Caller {
  #send: (question: Question, transfer: Transferable[]) => void;
  #open = new Map<number, Open>();
  #next = 1;
  #over: KollatorError | undefined;

  constructor(send: (question: Question, transfer: Transferable[]) => void) {
    this.#send = send;
  }

  /** Asks for `method`; `onNote` hears what is told before the answer. */
  ask<T>(method: string, args: unknown[], signal?: AbortSignal, onNote?: (note: never) => void): Promise<T> {
    if (this.#over) return Promise.reject(this.#over);
    if (signal?.aborted) return Promise.reject(stopped(signal));
    const id = this.#next++;
    return new Promise<T>((resolve, reject) => {
      const abort = (): void => {
        this.#send({ t: 'abort', id }, []);
        this.#close(id)?.reject(stopped(signal));
      };
      signal?.addEventListener('abort', abort, { once: true });
      const done = (): void => signal?.removeEventListener('abort', abort);
      this.#open.set(id, { resolve: resolve as (value: unknown) => void, reject, onNote, done });
      try {
        this.#send({ t: 'ask', id, method, args }, []);
      } catch (error) {
        this.#close(id)?.reject(error);
      }
    });
  }

  /** Takes what the other side sent. */
  hear(answer: Answer): void {
    if (answer.t === 'note') {
      (this.#open.get(answer.id)?.onNote as ((note: unknown) => void) | undefined)?.(answer.note);
    } else if (answer.t === 'answer') {
      this.#close(answer.id)?.resolve(answer.value);
    } else {
      this.#close(answer.id)?.reject(new KollatorError(answer.error.code, answer.error.message));
    }
  }

  /** The other side is gone: everything open, and everything asked from now on, fails with `error`. */
  end(error: KollatorError): void {
    this.#over ??= error;
    for (const id of [...this.#open.keys()]) this.#close(id)?.reject(error);
  }

  #close(id: number): Open | undefined {
    const open = this.#open.get(id);
    this.#open.delete(id);
    open?.done();
    return open;
  }
}

/** What a method is told besides its arguments. */
export interface Asked {
  /** Aborted when whoever asked does not want the answer any more. */
  signal: AbortSignal;
  /** Tells something before the answer. */
  note(note: unknown): void;
}

/** Methods by name. */
export type Methods = Record<string, (asked: Asked, ...args: never[]) => unknown>;

/** The side that answers. */
export class Responder {
  #methods: Methods;
  #send: (answer: Answer, transfer: Transferable[]) => void;
  #open = new Map<number, AbortController>();

  constructor(methods: Methods, send: (answer: Answer, transfer: Transferable[]) => void) {
    this.#methods = methods;
    this.#send = send;
  }

  /** Takes what the other side sent. */
  hear(question: Question): void {
    if (question.t === 'abort') {
      this.#open.get(question.id)?.abort();
      return;
    }
    void this.#answer(question.id, question.method, question.args);
  }

  async #answer(id: number, method: string, args: unknown[]): Promise<void> {
    const controller = new AbortController();
    this.#open.set(id, controller);
    const asked: Asked = { signal: controller.signal, note: (note) => this.#send({ t: 'note', id, note }, []) };
    try {
      const run = Object.hasOwn(this.#methods, method) ? this.#methods[method] : undefined;
      if (!run) throw new KollatorError('broken', `there is no method "${method}"`);
      const value: unknown = await run(asked, ...(args as never[]));
      this.#send({ t: 'answer', id, value }, value instanceof Uint8Array ? [value.buffer as ArrayBuffer] : []);
    } catch (error) {
      this.#send({ t: 'error', id, error: toPlain(error) }, []);
    } finally {
      this.#open.delete(id);
    }
  }
}

function stopped(signal: AbortSignal | undefined): KollatorError {
  return new KollatorError('aborted', 'It was stopped before it was done.', { cause: signal?.reason });
}
