/** Saving: a share as a folder, and single files where they have no addresses. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { gathered } from '../src/lib/parts.ts';
import { components, pickPlace, saveInto, saveTo, type Folder } from '../src/lib/save.ts';

function disk(): { folder: Folder; written: Map<string, string> } {
  const written = new Map<string, string>();
  const at = (path: string): Folder => ({
    getDirectoryHandle: (name) => Promise.resolve(at(`${path}${name}/`)),
    getFileHandle: (name) =>
      Promise.resolve({
        createWritable: () => {
          written.set(path + name, '');
          return Promise.resolve(
            new WritableStream<Uint8Array>({ write: (chunk) => void written.set(path + name, (written.get(path + name) ?? '') + new TextDecoder().decode(chunk)) }),
          );
        },
      }),
  });
  return { folder: at('/'), written };
}

const streams = { stream: (_hash: string, { file }: { file?: number }) => new Blob([`file ${file}`]).stream() };

test('a share is written with its folders', async () => {
  const { folder, written } = disk();
  const files = [{ index: 0, path: 'a/b.txt' }, { index: 1, path: 'ü.txt' }];
  const steps: number[] = [];
  await saveInto(folder, { infoHash: 'x', name: 'trip', files }, streams, (done) => steps.push(done), new AbortController().signal);
  assert.deepEqual([...written], [['/trip/a/b.txt', 'file 0'], ['/trip/ü.txt', 'file 1']]);
  assert.deepEqual(steps, [1, 2]);
});

test('a name that leads elsewhere stops all of it before anything is written', async () => {
  for (const path of ['../x', 'a/../../x', '/x', 'a//b', './x', 'a\\..\\b', 'a\0']) {
    assert.throws(() => components(path), /no safe name/, path);
    const { folder, written } = disk();
    const files = [{ index: 0, path: 'fine' }, { index: 1, path }];
    await assert.rejects(saveInto(folder, { infoHash: 'x', name: 'trip', files }, streams, () => {}, new AbortController().signal));
    assert.equal(written.size, 0);
  }
});

test('saving stops when it is told to', async () => {
  const { folder } = disk();
  await assert.rejects(saveInto(folder, { infoHash: 'x', name: 'trip', files: [{ index: 0, path: 'a' }] }, streams, () => {}, AbortSignal.abort()));
});

const MIB = 1 << 20;

/** Bytes that tell their place, in pieces of odd lengths. */
function coming(length: number): ReadableStream<Uint8Array<ArrayBuffer>> {
  let at = 0;
  return new ReadableStream(
    {
      pull: (controller) => {
        if (at >= length) return controller.close();
        const piece = new Uint8Array(Math.min(700_001, length - at));
        for (let n = 0; n < piece.length; n += 1) piece[n] = (at + n) % 251;
        at += piece.length;
        controller.enqueue(piece);
      },
    },
    { highWaterMark: 0 },
  );
}

test('a file is put together from parts', async () => {
  const length = 40 * MIB + 3;
  const steps: number[] = [];
  const whole = new Uint8Array(await (await gathered(coming(length), length, (done) => steps.push(done))).arrayBuffer());
  assert.equal(whole.length, length);
  assert.ok(whole.every((byte, at) => byte === at % 251));
  assert.equal(steps.at(-1), length);
  assert.equal((await gathered(coming(0), 0, () => {})).size, 0);
});

test('a file that is too large is refused in words before any of it comes', async () => {
  let cancelled = false;
  const from = new ReadableStream<Uint8Array<ArrayBuffer>>({ pull: () => assert.fail('it was read'), cancel: () => void (cancelled = true) }, { highWaterMark: 0 });
  await assert.rejects(gathered(from, 3e9, () => {}), /3\.0 GB.*537 MB at most/);
  assert.equal(cancelled, true);
});

test('what fails on the way ends the saving', async () => {
  const lost = new ReadableStream<Uint8Array<ArrayBuffer>>({ pull: () => Promise.reject(new Error('lost')) });
  await assert.rejects(gathered(lost, 5, () => {}), /lost/);
});

test('a file is written where the user says, piece by piece', async () => {
  const { folder, written } = disk();
  const place = await folder.getFileHandle('chosen', { create: true });
  const steps: number[] = [];
  await saveTo(place, 'x', { index: 4 }, streams, (done) => steps.push(done), new AbortController().signal);
  assert.deepEqual([...written], [['/chosen', 'file 4']]);
  assert.deepEqual(steps, [6]);
  await assert.rejects(saveTo(place, 'x', { index: 4 }, streams, () => {}, AbortSignal.abort()));
});

test('without a dialog of its own the page saves elsewhere; a dialog that is closed saves nothing', async () => {
  assert.equal(await pickPlace('film.webm'), 'elsewhere');
  const page = globalThis as { showSaveFilePicker?: (options: object) => Promise<unknown> };
  try {
    let asked: object = {};
    const place = { createWritable: () => assert.fail('not yet') };
    page.showSaveFilePicker = async (options) => ((asked = options), place);
    assert.equal(await pickPlace('film.webm'), place);
    assert.deepEqual(asked, { suggestedName: 'film.webm' });
    page.showSaveFilePicker = () => Promise.reject(new DOMException('closed', 'AbortError'));
    assert.equal(await pickPlace('film.webm'), undefined);
    page.showSaveFilePicker = () => Promise.reject(new Error('broken'));
    await assert.rejects(pickPlace('film.webm'), /broken/);
  } finally {
    delete page.showSaveFilePicker;
  }
});
