import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf, streamOf, type ReadPart } from './stream.ts';

/** A file of which the first bytes are there, and more come. */
class Growing {
  there = 0;
  reads: number[] = [];
  #waiting: Array<() => void> = [];
  grow(to: number): void {
    this.there = to;
    for (const go of this.#waiting.splice(0)) go();
  }
  read: ReadPart = async (offset, length, signal) => {
    this.reads.push(offset);
    while (this.there < offset + length) {
      await new Promise<void>((resolve, reject) => {
        this.#waiting.push(resolve);
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
    }
    return Uint8Array.from({ length }, (_, at) => (offset + at) % 251);
  };
}

const MIB = 1024 * 1024;
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

test('it waits for what is not there, and gives all of it in order', async () => {
  const file = new Growing();
  const got: number[] = [];
  const reading = (async () => {
    for await (const part of bytesOf(file.read, 100, 2 * MIB + 7)) for (const byte of part) got.push(byte);
  })();
  await pause();
  assert.equal(got.length, 0);
  file.grow(MIB);
  await pause();
  assert.ok(got.length > 0 && got.length < MIB);
  file.grow(3 * MIB);
  await reading;
  assert.equal(got.length, 2 * MIB + 7 - 100);
  assert.ok(got.every((byte, at) => byte === (at + 100) % 251));
});

test('nothing is read far ahead of whoever takes it', async () => {
  const file = new Growing();
  file.grow(100 * MIB);
  const reader = streamOf(file.read, 0, 100 * MIB).getReader();
  await pause();
  const before = file.reads.length;
  assert.ok(before <= 3, `${before} parts read though none was taken`);
  await reader.read();
  await pause();
  assert.equal(file.reads.length, before + 1);
  await reader.cancel();
});

test('cancelling, leaving the loop and a signal stop a reading that waits', async () => {
  const stop = new AbortController();
  for (const leave of ['cancel', 'signal', 'loop']) {
    let stopped = false;
    const read: ReadPart = async (offset, length, signal) => {
      if (offset === 0) return new Uint8Array(length);
      return new Promise((_, reject) =>
        signal.addEventListener('abort', () => {
          stopped = true;
          reject(signal.reason as Error);
        }),
      );
    };
    if (leave === 'loop') {
      for await (const part of bytesOf(read, 0, 100 * MIB)) if (part) break;
    } else {
      const reader = streamOf(read, 0, 100 * MIB, stop.signal).getReader();
      await reader.read();
      await pause();
      if (leave === 'cancel') await reader.cancel();
      else {
        stop.abort();
        await assert.rejects(reader.read(), { name: 'AbortError' });
      }
    }
    assert.equal(stopped, true, leave);
    if (leave === 'cancel') assert.equal(stop.signal.aborted, false);
  }
});

test('an empty range ends at once; an error of reading is the error of the stream', async () => {
  const nothing = await streamOf(() => assert.fail('nothing to read'), 5, 5).getReader().read();
  assert.equal(nothing.done, true);
  const failing = bytesOf(() => Promise.reject(new Error('lost')), 0, 5);
  await assert.rejects(failing.next(), /lost/);
});
