/**
 * A file as a stream: bytes are read when whoever takes them wants more, a little ahead, so that a file larger than
 * memory passes through and one that is still coming is waited for.
 */

type Bytes = Uint8Array<ArrayBuffer>;

/** Reads a part of a file; waits for what is not here yet. */
export type ReadPart = (offset: number, length: number, signal: AbortSignal) => Promise<Bytes>;

/** Bytes read at a time. */
const PART = 512 * 1024;
/** Bytes that may wait for whoever takes them. */
const AHEAD = 1024 * 1024;

/** The bytes from `start` to before `end`. Cancelling it, or `signal`, stops the reading. */
export function streamOf(read: ReadPart, start: number, end: number, signal?: AbortSignal): ReadableStream<Bytes> {
  const cancelled = new AbortController();
  const stop = signal ? AbortSignal.any([signal, cancelled.signal]) : cancelled.signal;
  let at = start;
  return new ReadableStream<Bytes>(
    {
      pull: async (controller) => {
        stop.throwIfAborted();
        if (at < end) {
          const part = await read(at, Math.min(PART, end - at), stop);
          at += part.length;
          controller.enqueue(part);
        }
        if (at >= end) controller.close();
      },
      cancel: (reason) => cancelled.abort(reason),
    },
    new ByteLengthQueuingStrategy({ highWaterMark: AHEAD }),
  );
}

/** The same bytes for `for await`; leaving the loop stops the reading. */
export async function* bytesOf(read: ReadPart, start: number, end: number, signal?: AbortSignal): AsyncGenerator<Bytes, void, undefined> {
  const reader = streamOf(read, start, end, signal).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
