/** Saving a share as a folder. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { components, saveInto, type Folder } from '../src/lib/save.ts';

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
