/**
 * Runs the library's modules in real browsers: a small server that strips the types of what it serves, so that no
 * bundler stands between source and test, and Debian's Chromium and Firefox ESR behind one interface. Loopback only.
 */

import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { stripTypeScriptTypes } from 'node:module';
import type { AddressInfo } from 'node:net';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import puppeteer, { type Browser as Puppeteer, type CDPSession } from 'puppeteer-core';

const root = fileURLToPath(new URL('../..', import.meta.url));
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FIREFOX = process.env.FIREFOX ?? '/usr/bin/firefox-esr';
/** The one package that the library imports, by a name that only bundlers understand. */
const MEDIABUNNY = join(dirname(fileURLToPath(import.meta.resolve('mediabunny'))), '../../bundles/mediabunny.mjs');
const FLAGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-sync'];

/** A page of the tests' origin. */
export interface Page {
  /** Runs `source`, the body of an async function, in the page, and gives what it returns (JSON). */
  run(source: string): Promise<unknown>;
  /** Goes to another address, of the origin if it names no other. */
  go(path: string): Promise<{ status: number; text: string }>;
  close(): Promise<void>;
  /** A command of Chromium's DevTools protocol. */
  command(method: CommandName, parameters: object): Promise<void>;
}

type CommandName = 'Storage.overrideQuotaForOrigin' | 'ServiceWorker.enable' | 'ServiceWorker.stopAllWorkers';

/** A running browser. */
export interface Browser {
  page(): Promise<Page>;
  close(): Promise<void>;
}

/** The names of the browsers that tests run in; `BROWSERS=firefox` chooses. */
export const browsers = (process.env.BROWSERS ?? 'chromium,firefox').split(',');

/** Serves the library's files, an empty page at `/`, and besides what is in `others`, by path. */
export async function serve(others: Record<string, Buffer> = {}): Promise<{ url: string; close(): void }> {
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url ?? '/', 'http://localhost').pathname);
    answer(path, others).then(
      ([type, body]) => {
        response.writeHead(200, {
          'content-type': type,
          'cache-control': 'no-store',
          'service-worker-allowed': '/',
        });
        response.end(body);
      },
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}/`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function answer(path: string, others: Record<string, Buffer>): Promise<[string, string | Buffer]> {
  if (path === '/') return ['text/html', '<!doctype html><meta charset="utf-8"><title>Tests</title>'];
  if (path === '/mediabunny.js') return ['text/javascript', await readFile(MEDIABUNNY)];
  const other = others[path];
  if (other) return ['application/octet-stream', other];
  const body = await readFile(join(root, path));
  if (extname(path) === '.ts') return ['text/javascript', stripTypeScriptTypes(body.toString()).replace(`from 'mediabunny'`, `from '/mediabunny.js'`)];
  return ['application/octet-stream', body];
}

/** Starts `name` with a passing profile, for the pages of `url`. */
export async function launch(name: string, url: string): Promise<Browser> {
  const browser = await (name === 'firefox'
    ? puppeteer.launch({ browser: 'firefox', executablePath: FIREFOX, headless: true })
    : puppeteer.launch({ browser: 'chrome', executablePath: CHROMIUM, headless: true, args: FLAGS }));
  return { page: () => pageOf(browser, url), close: () => browser.close() };
}

async function pageOf(browser: Puppeteer, url: string): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(url);
  let session: CDPSession | undefined;
  return {
    run: (source) => page.evaluate(`(async () => { ${source} })()`) as Promise<unknown>,
    go: async (path) => {
      const response = await page.goto(new URL(path, url).href);
      return { status: response?.status() ?? 0, text: (await page.evaluate('document.body.innerText')) as string };
    },
    close: () => page.close(),
    command: async (method, parameters) => {
      session ??= await page.createCDPSession();
      // Commands and parameters belong together in a way that this interface need not know.
      await session.send(method as 'ServiceWorker.enable', parameters as never);
    },
  };
}

/** Chromium with a profile of its own, which can be killed as a power switch would. */
export async function launchToKill(profile: string, url: string): Promise<Browser & { kill(): Promise<void> }> {
  const child = spawn(
    CHROMIUM,
    [...FLAGS, '--headless=new', '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank'],
    { stdio: ['ignore', 'ignore', 'pipe'], detached: true },
  );
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const endpoint = await new Promise<string>((resolve, reject) => {
    let said = '';
    child.stderr.on('data', (text: Buffer) => {
      said += text.toString();
      const found = /DevTools listening on (ws:\S+)/.exec(said);
      if (found?.[1]) resolve(found[1]);
    });
    child.once('exit', () => reject(new Error(`chromium did not start: ${said}`)));
  });
  const browser = await puppeteer.connect({ browserWSEndpoint: endpoint });
  return {
    page: () => pageOf(browser, url),
    // The whole process group at once: no part of the browser gets to tidy up.
    kill: async () => {
      process.kill(-child.pid!, 'SIGKILL');
      await gone;
      await browser.disconnect().catch(() => undefined);
    },
    close: async () => {
      await browser.close();
      await gone;
    },
  };
}
