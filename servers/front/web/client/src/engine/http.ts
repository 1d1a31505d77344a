/**
 * What the machine asks of workers over HTTP. It decides nothing: what is asked, how long an answer is waited for and
 * what makes a bad one is the machine's business. Bodies go on in whole blocks.
 */

import type { Input, Output } from '../machine-types.ts';
import { BLOCK } from '../storage/storage.ts';

/** A request of the machine. */
export type WebRequest = Omit<Extract<Output, { t: 'webRequest' }>, 't'>;

/** What the machine hears of a request. */
export type WebInput = Extract<Input, { t: `web${string}` }>;

/** Carries out requests. */
export class Http {
  #input: (input: WebInput, payload?: Uint8Array) => void;
  #fetch: typeof fetch;
  #open = new Map<number, AbortController>();

  constructor(
    input: (input: WebInput, payload?: Uint8Array) => void,
    fetcher: typeof fetch = (...args) => fetch(...args),
  ) {
    this.#input = input;
    this.#fetch = fetcher;
  }

  /** Begins a request and returns at once. */
  request(request: WebRequest): void {
    const controller = new AbortController();
    this.#open.set(request.id, controller);
    void this.#carry(request, controller.signal).finally(() => this.#open.delete(request.id));
  }

  /** Gives a request up. Nothing is heard of it any more. */
  cancel(id: number): void {
    this.#open.get(id)?.abort();
    this.#open.delete(id);
  }

  /** Gives every request up. */
  cancelAll(): void {
    for (const id of [...this.#open.keys()]) this.cancel(id);
  }

  async #carry({ id, url, head, range }: WebRequest, signal: AbortSignal): Promise<void> {
    const tell = (input: WebInput, payload?: Uint8Array): void => {
      if (!signal.aborted) this.#input(input, payload);
    };
    let hasHead = false;
    try {
      const response = await this.#fetch(url, {
        method: head ? 'HEAD' : 'GET',
        headers: range ? { range: `bytes=${range[0]}-${range[1]}` } : {},
        // A worker has no business sending a browser anywhere else.
        redirect: 'error',
        cache: 'no-store',
        credentials: 'omit',
        referrerPolicy: 'no-referrer',
        signal,
      });
      const retryAfter = secondsOf(response.headers.get('retry-after'));
      hasHead = true;
      tell({ t: 'webHead', id, status: response.status, ...(retryAfter === undefined ? {} : { retryAfter }) });
      if (!response.ok || head) {
        await response.body?.cancel();
        return;
      }
      for await (const data of wholeBlocks(response.body)) tell({ t: 'webData', id }, data);
      tell({ t: 'webEnd', id });
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      tell({ t: 'webFailed', id, reason: `${hasHead ? 'the answer broke off' : 'no answer'}: ${words}` });
    }
  }
}

/** The bytes of `body`, cut at multiples of a block; the last piece may be shorter. */
export async function* wholeBlocks(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  const reader = body?.getReader();
  if (!reader) return;
  let held: Uint8Array[] = [];
  let length = 0;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      held.push(next.value);
      length += next.value.byteLength;
      if (length < BLOCK) continue;
      const all = joined(held, length);
      const whole = length - (length % BLOCK);
      yield all.subarray(0, whole);
      held = whole < length ? [all.subarray(whole)] : [];
      length -= whole;
    }
    if (length > 0) yield joined(held, length);
  } finally {
    // Does nothing once the body has come to its end.
    await reader.cancel();
  }
}

function joined(parts: Uint8Array[], length: number): Uint8Array {
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.byteLength;
  }
  return all;
}

/** `Retry-After`, if it is in seconds. */
function secondsOf(value: string | null): number | undefined {
  return value !== null && /^\d{1,9}$/.test(value.trim()) ? Number(value) : undefined;
}
