/**
 * Measures throughput beside a raw data channel, interleaved so that what else the machine does hits all alike, and what
 * loading the page costs. Prints Markdown tables. Arguments: MiB of the file, rounds. Started by bench/browser.sh.
 */

import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { App } from './app.ts';
import { MIB, random } from './files.ts';
import { Network } from './network.ts';
import { OFFER, answer, withEmptyPage } from './page.ts';
import { Room, until } from './suite.ts';
import type { Tab } from './tab.ts';

/** Bytes of a raw message: as many as Kollator puts in one. */
const MESSAGE = 64 * 1024;
/** Most gzipped bytes of scripts and styles. */
const MOST_CODE = 250 * 1024;
/** What Kollator must reach of the raw channel. */
const LEAST = 0.8;
/** Workers that may give this little give nothing that counts, and only a small sample of their work. */
const SILENT = { UPLOAD_LIMIT_KB: '1', KOLLATOR_SAMPLE_KIB: '16' };

const [mib = 200, rounds = 3] = process.argv.slice(2).map(Number);
const size = mib * MIB;
const bin = process.env.KOLLATOR_BIN;
if (!bin || !(size > 0) || !(rounds > 0)) throw new Error('usage: browser.sh [MIB] [ROUNDS]');

/** Runs `task` in a room of its own. */
async function inRoom<T>(network: Network, task: (room: Room) => Promise<T>): Promise<T> {
  const room = new Room(mkdtempSync(join(tmpdir(), 'kollator-bench-')), network);
  try {
    return await task(room);
  } finally {
    await room.close();
    rmSync(room.dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** MB/s of one ordered data channel between two browsers. */
async function raw(room: Room): Promise<number> {
  let speed = 0;
  await withEmptyPage(async (url) => {
    const [from, to] = [await room.tab('chromium', url), await room.tab('chromium', url)];
    const offer = await from.evaluate<string>(OFFER);
    const count = `
      let bytes = 0;
      channel.onmessage = ({ data }) => (bytes += data.byteLength) >= ${size} && channel.send('all');
    `;
    const back = await to.evaluate<string>(answer(offer, count));
    speed = await from.evaluate<number>(`
      const ready = new Promise((open) => (channel.onopen = open));
      await pc.setRemoteDescription(${back});
      await ready;
      const message = crypto.getRandomValues(new Uint8Array(${MESSAGE}));
      const all = new Promise((done) => (channel.onmessage = done));
      channel.bufferedAmountLowThreshold = 1 << 20;
      const began = performance.now();
      for (let sent = 0; sent < ${size}; sent += message.length) {
        if (channel.bufferedAmount > 4 << 20) await new Promise((low) => (channel.onbufferedamountlow = low));
        channel.send(message);
      }
      await all;
      return ${size} / 1e3 / (performance.now() - began);
    `);
  });
  return speed;
}

/** MB/s of a download: from its first verified bytes of a kind of source to its last of any, all of it stored. */
async function download(app: App, source: 'peer' | 'worker'): Promise<number> {
  const speed = await app.tab.evaluate<number>(`
    const read = () => Number(document.querySelector('[data-testid="sources"]')?.getAttribute('data-${source}') ?? 0);
    const phase = () => document.querySelector('[data-testid="state"]')?.getAttribute('data-phase');
    const next = () => new Promise((wake) => setTimeout(wake, 10));
    while (read() === 0) await next();
    const [began, had] = [performance.now(), read()];
    while (phase() !== 'complete') await next();
    return (${size} - had) / 1e3 / (performance.now() - began);
  `);
  return speed;
}

interface Load {
  contentLoaded: number;
  firstPaint: number;
  largestPaint: number;
  shift: number;
  bytes: number;
}

/** Loads the start page in a browser that was never there. */
async function load(room: Room): Promise<Load> {
  const tab: Tab = await room.tab('chromium', 'about:blank');
  await tab.goto(room.network.front);
  await tab.find('pick');
  return tab.evaluate<Load>(`
    await new Promise((wake) => setTimeout(wake, 1500));
    const all = (type) => new Promise((done) => {
      const seen = [];
      const observer = new PerformanceObserver((list) => seen.push(...list.getEntries()));
      observer.observe({ type, buffered: true });
      setTimeout(() => done(seen), 100);
    });
    const navigation = performance.getEntriesByType('navigation')[0];
    const files = performance.getEntriesByType('resource').filter(({ name }) => /[.](js|css)$/.test(name));
    return {
      contentLoaded: navigation.domContentLoadedEventEnd,
      firstPaint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN,
      largestPaint: (await all('largest-contentful-paint')).at(-1)?.startTime ?? NaN,
      shift: (await all('layout-shift')).reduce((sum, entry) => sum + (entry.hadRecentInput ? 0 : entry.value), 0),
      bytes: files.reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0),
    };
  `);
}

/** `median (least..most)`. */
function spread(values: number[], digits: number): string {
  const seen = values.toSorted((a, b) => a - b);
  const show = (value: number | undefined) => (value ?? NaN).toFixed(digits);
  return `${show(median(seen))} (${show(seen[0])}..${show(seen.at(-1))})`;
}

function median(values: number[]): number {
  const seen = values.toSorted((a, b) => a - b);
  return seen[Math.floor(seen.length / 2)] ?? NaN;
}

/** Gzipped bytes of all scripts and styles of the page, its workers included. */
function code(): number {
  const assets = fileURLToPath(new URL('../../servers/front/web/dist/', import.meta.url));
  const files = readdirSync(assets, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(js|css)$/.test(name));
  return files.reduce((sum, name) => sum + gzipSync(readFileSync(join(assets, name)), { level: 9 }).length, 0);
}

const network = new Network(bin);
const speeds = { raw: [] as number[], tab: [] as number[], worker: [] as number[] };
/** The raw channel's speed in each round: the mean of before and after, for machines get faster and slower by themselves. */
const base: number[] = [];
const loads: Load[] = [];
try {
  network.start();
  for (let round = 1; round <= rounds; round += 1) {
    const before = await inRoom(network, raw);
    await inRoom(network, async (room) => {
      const source = random(room.path('bench.bin'), size);
      const sender = await App.start(room, 'chromium');
      await sender.pick(source);
      const link = await sender.link();
      await sender.reaches('safe', 600);
      await network.having(SILENT, async () => {
        await until('the sender is back', async () => (await sender.tab.text()).includes('Connected'));
        const receiver = await App.start(room, 'chromium', link);
        speeds.tab.push(await download(receiver, 'peer'));
        const { peer } = await receiver.from();
        if (peer < 0.99 * size) throw new Error(`the tab gave ${peer} of ${size} bytes only`);
      });
      for (const tab of [...sender.tab.browser.tabs]) await tab.close();
    });
    const after = await inRoom(network, raw);
    speeds.raw.push(before, after);
    base.push((before + after) / 2);
    await inRoom(network, async (room) => {
      const link = await network.share(random(room.path('bench.bin'), size), '--name', `round-${round}`);
      const receiver = await App.start(room, 'chromium', link);
      speeds.worker.push(await download(receiver, 'worker'));
    });
    loads.push(await inRoom(network, load));
    console.log(`round ${round} of ${rounds} done`);
  }
} finally {
  network.remove();
}

const ratio = (kind: 'tab' | 'worker') => speeds[kind].map((speed, round) => speed / (base[round] ?? NaN));
console.log(`
${mib} MiB, ${rounds} rounds, each one after the other: median (least..most)

| path | MB/s | of raw |
|---|---|---|
| raw data channel, tab to tab, 64 KiB messages | ${spread(speeds.raw, 1)} | 1 |
| Kollator, tab to tab, stored and verified | ${spread(speeds.tab, 1)} | ${spread(ratio('tab'), 2)} |
| Kollator, worker to tab, stored and verified | ${spread(speeds.worker, 1)} | ${spread(ratio('worker'), 2)} |

| loading the page | |
|---|---|
| first contentful paint, ms | ${spread(loads.map((load) => load.firstPaint), 0)} |
| largest contentful paint, ms | ${spread(loads.map((load) => load.largestPaint), 0)} |
| DOM content loaded, ms | ${spread(loads.map((load) => load.contentLoaded), 0)} |
| cumulative layout shift | ${spread(loads.map((load) => load.shift), 3)} |
| scripts and styles sent for it, KiB (brotli) | ${spread(loads.map((load) => load.bytes / 1024), 1)} |
| all scripts and styles there are, KiB (gzip) | ${(code() / 1024).toFixed(1)} |
`);
let met = true;
for (const [what, good] of [
  [`tab to tab at ${LEAST} of raw or more`, median(ratio('tab')) >= LEAST],
  [`worker to tab at ${LEAST} of raw or more`, median(ratio('worker')) >= LEAST],
  [`scripts and styles under ${MOST_CODE / 1024} KiB gzipped`, code() < MOST_CODE],
] as const) {
  console.log(`${good ? 'reached' : 'MISSED'}: ${what}`);
  met &&= good;
}
process.exit(met ? 0 : 1);
