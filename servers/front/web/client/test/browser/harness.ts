/**
 * Runs the library's modules in real browsers: a small server that strips the types of what it serves, so that no
 * bundler stands between source and test, and Debian's Chromium and Firefox ESR behind one interface. Loopback only.
 */

import { spawn, type ChildProcess } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { stripTypeScriptTypes } from 'node:module';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium, type BrowserContext } from 'playwright-core';
import puppeteer from 'puppeteer-core';

const root = fileURLToPath(new URL('../..', import.meta.url));
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FIREFOX = process.env.FIREFOX ?? '/usr/bin/firefox-esr';
const FLAGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-sync'];

/** A page of the tests' origin. */
export interface Page {
  /** Runs `source`, the body of an async function, in the page, and gives what it returns (JSON). */
  run(source: string): Promise<unknown>;
  reload(): Promise<void>;
  close(): Promise<void>;
}

/** A page of Chromium. */
export interface ChromiumPage extends Page {
  /** Lets the origin keep no more than `bytes`. */
  grant(bytes: number): Promise<void>;
}

/** A running browser. */
export interface Browser<P = Page> {
  page(): Promise<P>;
  close(): Promise<void>;
}

/** The names of the browsers that tests run in; `BROWSERS=firefox` chooses. */
export const browsers = (process.env.BROWSERS ?? 'chromium,firefox').split(',');

/** Serves the library's files, and an empty page at `/`. */
export async function serve(): Promise<{ url: string; close(): void }> {
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url ?? '/', 'http://localhost').pathname);
    answer(path).then(
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

async function answer(path: string): Promise<[string, string | Buffer]> {
  if (path === '/') return ['text/html', '<!doctype html><meta charset="utf-8"><title>Tests</title>'];
  const body = await readFile(join(root, path));
  if (extname(path) === '.ts') return ['text/javascript', stripTypeScriptTypes(body.toString())];
  return ['application/octet-stream', body];
}

/** Starts `name` for the pages of `url`. */
export function launch(name: string, url: string): Promise<Browser> {
  return name === 'firefox' ? launchFirefox(url) : launchChromium(url);
}

/** Starts Chromium with a passing profile. */
export async function launchChromium(url: string): Promise<Browser<ChromiumPage>> {
  const browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args: FLAGS });
  const context = await browser.newContext();
  return {
    page: () => chromiumPage(context, url),
    close: () => browser.close(),
  };
}

async function chromiumPage(context: BrowserContext, url: string): Promise<ChromiumPage> {
  const page = await context.newPage();
  await page.goto(url);
  return {
    run: (source) => page.evaluate(inAsync(source)),
    reload: async () => void (await page.reload()),
    close: () => page.close(),
    grant: async (bytes) => {
      const session = await context.newCDPSession(page);
      await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(url).origin, quotaSize: bytes });
    },
  };
}

async function launchFirefox(url: string): Promise<Browser> {
  const browser = await puppeteer.launch({ browser: 'firefox', executablePath: FIREFOX, headless: true });
  return {
    page: async () => {
      const page = await browser.newPage();
      await page.goto(url);
      return {
        run: (source) => page.evaluate(inAsync(source)) as Promise<unknown>,
        reload: async () => void (await page.reload()),
        close: () => page.close(),
      };
    },
    close: () => browser.close(),
  };
}

function inAsync(source: string): string {
  return `(async () => { ${source} })()`;
}

/** Chromium with a profile of its own, which can be killed as a power switch would. */
export async function launchToKill(profile: string, url: string): Promise<Browser<ChromiumPage> & { kill(): Promise<void> }> {
  const child: ChildProcess = spawn(
    CHROMIUM,
    [...FLAGS, '--headless=new', '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank'],
    { stdio: ['ignore', 'ignore', 'pipe'], detached: true },
  );
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const endpoint = await new Promise<string>((resolve, reject) => {
    let said = '';
    child.stderr?.on('data', (text: Buffer) => {
      said += text.toString();
      const found = /DevTools listening on (ws:\S+)/.exec(said);
      if (found?.[1]) resolve(found[1]);
    });
    child.once('exit', () => reject(new Error(`chromium did not start: ${said}`)));
  });
  const browser = await chromium.connectOverCDP(endpoint);
  const context = browser.contexts()[0]!;
  return {
    page: () => chromiumPage(context, url),
    // The whole process group at once: no part of the browser gets to tidy up.
    kill: async () => {
      process.kill(-child.pid!, 'SIGKILL');
      await gone;
      await browser.close().catch(() => undefined);
    },
    close: async () => {
      await browser.close();
      process.kill(-child.pid!, 'SIGTERM');
      await gone;
    },
  };
}
