/** Files of shares as addresses, in real browsers: page, service worker and whoever asks, without a network in between. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { browsers, launch, serve, type Page } from './harness.ts';

const server = await serve();
after(() => server.close());

const HASH = '0123456789abcdef'.repeat(4);
const GIB = 1024 ** 3;

/**
 * Makes the page one that has a share: file 0 is a film of 3 GiB whose bytes tell their place, file 1 is HTML, file 2
 * has bytes that never come. `reads` counts what it is asked for.
 */
async function become(page: Page): Promise<void> {
  await page.run(`
    const { serveFiles, fileUrl } = await import('/src/files.ts');
    await navigator.serviceWorker.register('/src/service-worker.ts', { type: 'module', scope: '/' });
    await navigator.serviceWorker.ready;
    if (!navigator.serviceWorker.controller) await new Promise((go) => navigator.serviceWorker.oncontrollerchange = go);
    const html = new TextEncoder().encode('<script>parent.hacked = true</script>');
    const files = [{ name: 'Film ü.webm', length: ${3 * GIB} }, { name: 'page.html', length: html.length }, { name: 'late', length: 9 }];
    globalThis.reads = [];
    globalThis.stopped = 0;
    globalThis.url = (file, options) => fileUrl('${HASH}', file, files[file]?.name ?? 'x', options);
    serveFiles(navigator.serviceWorker, {
      find: async (infoHash, file) => infoHash === '${HASH}' ? files[file] : undefined,
      read: async ({ file, offset, length }, signal) => {
        reads.push([offset, length]);
        if (file === 1) return html.slice(offset, offset + length);
        if (file === 2) return new Promise((_, reject) => signal.onabort = () => { stopped += 1; reject(signal.reason) });
        const bytes = new Uint8Array(length);
        for (let at = 0; at < length; at += 1) bytes[at] = (offset + at) % 251;
        return bytes;
      },
    });
  `);
}

/** Fetches in the page; the body as numbers if it is short. */
function get(page: Page, url: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Record<string, unknown>> {
  return page.run(`
    const response = await fetch(${url}, { method: '${method}', headers: ${JSON.stringify(headers)} });
    const body = new Uint8Array(await response.arrayBuffer());
    return { status: response.status, headers: Object.fromEntries(response.headers), body: [...body.slice(0, 1000)] };
  `) as Promise<Record<string, unknown>>;
}

for (const name of browsers) {
  test(`${name} reads files of shares from their addresses`, async () => {
    const browser = await launch(name, server.url);
    try {
      const page = await browser.page();
      await become(page);

      const part = await get(page, 'url(0)', { range: `bytes=${2 * GIB + 5}-${2 * GIB + 14}` });
      assert.equal(part.status, 206);
      assert.deepEqual(part.body, Array.from({ length: 10 }, (_, at) => (2 * GIB + 5 + at) % 251));
      const headers = part.headers as Record<string, string>;
      assert.equal(headers['content-range'], `bytes ${2 * GIB + 5}-${2 * GIB + 14}/${3 * GIB}`);
      assert.equal(headers['content-type'], 'video/webm');
      assert.equal((await get(page, 'url(0)', { range: `bytes=${3 * GIB}-` })).status, 416);
      assert.deepEqual((await get(page, 'url(0)', {}, 'HEAD')).body, []);
      assert.equal((await get(page, 'url(3)')).status, 404);
      assert.equal((await get(page, `'/_share/${'f'.repeat(64)}/0/x'`)).status, 404);

      // Another page, which does not have the share, gets it from the one that has.
      const other = await browser.page();
      const from = await get(other, `'/_share/${HASH}/0/x'`, { range: 'bytes=-3' });
      assert.deepEqual(from.body, [3, 2, 1].map((back) => (3 * GIB - back) % 251));

      // A page of a share is never a page of this origin.
      await page.run(`
        const frame = document.createElement('iframe');
        frame.src = url(1);
        document.body.append(frame);
        await new Promise((go) => setTimeout(go, 500));
      `);
      assert.equal(await page.run('return globalThis.hacked ?? false'), false);

      // Whoever takes nothing makes the page read nothing more. (What a script fetches, Firefox buffers without limit.)
      await page.run(`
        reads.length = 0;
        globalThis.body = (await fetch(url(0))).body.getReader();
        await body.read();
        await new Promise((go) => setTimeout(go, 500));
      `);
      const ahead = Number(await page.run('return reads.length'));
      if (name === 'chromium') assert.ok(ahead > 0 && ahead < 20, `${ahead} parts of 512 KiB were read ahead`);
      await page.run('await body.cancel()');

      // Whoever leaves stops the reading.
      await page.run(`
        const leave = new AbortController();
        const going = fetch(url(2), { signal: leave.signal }).then((response) => response.arrayBuffer()).catch(() => undefined);
        await new Promise((go) => setTimeout(go, 300));
        leave.abort();
        await going;
        for (let tries = 0; tries < 50 && stopped === 0; tries += 1) await new Promise((go) => setTimeout(go, 100));
      `);
      assert.equal(await page.run('return stopped'), 1);
    } finally {
      await browser.close();
    }
  });

  test(`${name} plays a film from its address while it comes`, async () => {
    const browser = await launch(name, server.url);
    try {
      const page = await browser.page();
      await page.run(`
        const { serveFiles, fileUrl } = await import('/src/files.ts');
        await navigator.serviceWorker.register('/src/service-worker.ts', { type: 'module', scope: '/' });
        await navigator.serviceWorker.ready;
        if (!navigator.serviceWorker.controller) await new Promise((go) => navigator.serviceWorker.oncontrollerchange = go);
        const canvas = document.createElement('canvas');
        const draw = canvas.getContext('2d');
        const painting = setInterval(() => { draw.fillStyle = '#' + Math.random().toString(16).slice(2, 8); draw.fillRect(0, 0, 300, 150); }, 30);
        const recorder = new MediaRecorder(canvas.captureStream(25), { mimeType: 'video/webm' });
        const recorded = new Promise((go) => recorder.ondataavailable = ({ data }) => go(data));
        recorder.start();
        await new Promise((go) => setTimeout(go, 2000));
        recorder.stop();
        const film = new Uint8Array(await (await recorded).arrayBuffer());
        clearInterval(painting);
        serveFiles(navigator.serviceWorker, {
          find: async () => ({ name: 'film.webm', length: film.length }),
          read: async ({ offset, length }) => {
            await new Promise((go) => setTimeout(go, 100));
            return film.slice(offset, offset + length);
          },
        });
        const video = document.createElement('video');
        video.muted = true;
        document.body.append(video);
        video.src = fileUrl('${HASH}', 0, 'film.webm');
        await video.play();
        await new Promise((go, fail) => {
          video.ontimeupdate = () => video.currentTime > 0.3 && go();
          video.onerror = () => fail(new Error(video.error.message));
        });
      `);
    } finally {
      await browser.close();
    }
  });

  test(`${name} says so when no page is open`, async () => {
    const browser = await launch(name, server.url);
    try {
      const page = await browser.page();
      await become(page);
      await page.go('about:blank');
      const { status, text } = await page.go(`/_share/${HASH}/0/film.webm`);
      assert.equal(status, 503);
      assert.match(text, /No page of this site is open/);
    } finally {
      await browser.close();
    }
  });
}

test('a service worker that was ended answers again', async () => {
  const browser = await launch('chromium', server.url);
  try {
    const page = await browser.page();
    await become(page);
    for (let round = 0; round < 2; round += 1) {
      assert.equal((await get(page, 'url(0)', { range: 'bytes=0-9' })).status, 206);
      await page.command('ServiceWorker.enable', {});
      await page.command('ServiceWorker.stopAllWorkers', {});
    }
    assert.equal((await get(page, 'url(1)')).status, 200);
  } finally {
    await browser.close();
  }
});
