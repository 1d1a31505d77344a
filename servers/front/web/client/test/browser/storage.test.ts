/** Storage in real browsers: the contract in each back end, what is left after a kill, and a browser that grants too little. */

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { browsers, launch, launchToKill, serve, type Page } from './harness.ts';

const server = await serve();
after(() => server.close());

/** Gives a new storage worker a task; the page keeps the worker, what it has written so far, and its answer. */
async function begin(page: Page, task: object): Promise<void> {
  await page.run(`
    globalThis.worker = new Worker('/test/browser/storage-worker.ts', { type: 'module' });
    globalThis.answer = new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => {
        if ('failed' in data) reject(new Error(data.failed));
        else if ('written' in data) globalThis.written = data.written;
        else resolve(data.done);
      };
      worker.onerror = (event) => reject(new Error(event.message));
    });
    answer.catch(() => undefined);
    worker.postMessage(${JSON.stringify(task)});
  `);
}

async function perform(page: Page, task: object): Promise<unknown> {
  await begin(page, task);
  return page.run('return answer.finally(() => worker.terminate())');
}

for (const name of browsers) {
  test(`${name} keeps the storage contract in every back end`, async () => {
    const browser = await launch(name, server.url);
    try {
      const page = await browser.page();
      assert.equal(await perform(page, { task: 'auto' }), 'opfs');
      for (const kind of ['opfs', 'indexeddb', 'memory']) {
        const results = Object.entries((await perform(page, { task: 'contract', kind })) as Record<string, string>);
        assert.ok(results.length > 5);
        assert.deepEqual(results.filter(([, result]) => result !== 'ok'), [], `${name}, ${kind}`);
      }
    } finally {
      await browser.close();
    }
  });
}

test('the shares of a database without a place for keys stay, and it gets one', async () => {
  const browser = await launch('chromium', server.url);
  try {
    const page = await browser.page();
    const record = { infoHash: 'ab'.repeat(32), role: 'sent', phase: 'safe', name: 'old', link: '', addedAt: 1, seeding: true, bytesStored: 0 };
    await page.run(`
      const request = indexedDB.open('kollator', 1);
      request.onupgradeneeded = () => ['records', 'shares', 'rows', 'maps'].forEach((table) => request.result.createObjectStore(table));
      await new Promise((resolve) => { request.onsuccess = resolve; });
      const put = request.result.transaction('records', 'readwrite').objectStore('records').put(${JSON.stringify(record)}, '${record.infoHash}');
      await new Promise((resolve) => { put.onsuccess = resolve; });
      request.result.close();
    `);
    assert.deepEqual(await perform(page, { task: 'upgrade' }), { names: ['old'], isKept: true });
  } finally {
    await browser.close();
  }
});

for (const kind of ['opfs', 'indexeddb']) {
  test(`${kind}: a tab has to wait for the share that another has open, also one that ends without a word`, async () => {
    const browser = await launch('chromium', server.url);
    try {
      const [one, two] = [await browser.page(), await browser.page()];
      const share = { kind, name: 'ab'.repeat(32), blocks: 64 };
      await begin(one, { task: 'fill', ...share });
      await one.run('return answer');
      await assert.rejects(perform(two, { task: 'look', ...share }), /Another tab/);
      await one.close();
      await new Promise((resolve) => setTimeout(resolve, 200));
      assert.deepEqual(await perform(two, { task: 'look', ...share }), { there: 64, wrong: [] });
    } finally {
      await browser.close();
    }
  });

  test(`${kind}: after a kill in the middle, what is said to be there is there, and all that was said to be written`, async () => {
    const profile = await mkdtemp(join(tmpdir(), 'kollator-kill-'));
    const share = { kind, name: 'cd'.repeat(32), blocks: 8192 };
    try {
      for (const wait of [150, 400, 50]) {
        const browser = await launchToKill(profile, server.url);
        const page = await browser.page();
        await begin(page, { task: 'fill', ...share });
        await page.run('while (!globalThis.written) await new Promise((go) => setTimeout(go, 5));');
        await new Promise((resolve) => setTimeout(resolve, wait));
        const written = Number(await page.run('return written'));
        await browser.kill();
        const again = await launchToKill(profile, server.url);
        const left = (await perform(await again.page(), { task: 'look', ...share })) as { there: number; wrong: number[] };
        await again.close();
        assert.deepEqual(left.wrong, []);
        assert.ok(left.there < share.blocks, 'killed before it was done');
        assert.ok(written > 0 && left.there >= written, `${left.there} of ${written} written blocks are left`);
      }
    } finally {
      await rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    }
  });
}

test('a browser without room says so in words, before anything is written', async () => {
  const browser = await launch('chromium', server.url);
  try {
    const page = await browser.page();
    await page.command('Storage.overrideQuotaForOrigin', { origin: new URL(server.url).origin, quotaSize: 10_000_000 });
    const task = { task: 'full', kind: 'opfs', name: 'ef'.repeat(32), blocks: 4096 };
    const { message, ...said } = (await perform(page, task)) as { message: string };
    assert.deepEqual(said, { code: 'storage-full', at: 'open', wrong: [] });
    assert.match(message, /has no room for 67.1 MB more/);
  } finally {
    await browser.close();
  }
});
