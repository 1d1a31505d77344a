/**
 * The states of the page, and how a browser gets to each of them in a preview build: shared by what looks at them and
 * what checks them. Traffic stays on loopback.
 */

import { preview } from 'vite';
import { chromium } from 'playwright-core';

const HASH = '7d0c9f2c71d8e05b46a3c04e8b1fc04e8b1fc04e8b1fc04e8b1fc04e8b1fc04e';
const KEY = 'pT4mWq0s9xLr2vBn7cYkE6hJ1dGfUaZo3iSb5NtQwXM';
const LINK = `#${HASH}&k=${KEY}`;
const SENT = '#/share/51ab9f2c71d8e05b46a3c04e8b1fc04e8b1fc04e8b1fc04e8b1fc04e8b1fc04e';

async function send(page) {
  await page.getByTestId('pick').setInputFiles({ name: 'Harbour concert.webm', mimeType: 'video/webm', buffer: Buffer.alloc(3_000_000) });
}

/** Each state: its name, the scene and fragment it is reached by, what shows that it is there, and what is done first. */
export const STATES = [
  { name: 'home', until: 'text=Drop a file.' },
  { name: 'preparing', until: '[data-phase=preparing]', act: send },
  { name: 'uploading', hash: SENT, until: '[data-phase=uploading]' },
  { name: 'safe', hash: SENT, until: '[data-phase=safe]' },
  { name: 'receiving', hash: LINK, until: '[data-testid=sources] li' },
  { name: 'complete', hash: LINK, until: '[data-testid=sources] li' },
  { name: 'finding', hash: LINK, until: '[data-phase=finding]' },
  { name: 'elsewhere', hash: LINK, until: '[data-phase=elsewhere]' },
  { name: 'key-missing', hash: LINK, until: '[data-testid=error]' },
  { name: 'not-found', hash: LINK, until: '[data-testid=error]' },
  { name: 'storage-full', hash: LINK, until: '[data-testid=error]' },
  { name: 'broken', hash: '#7d0c9f2c71d8', until: '[data-testid=error]' },
  { name: 'files', hash: '#/files', until: '[data-testid=share-item]' },
  { name: 'empty', hash: '#/files', until: 'text=Nothing here yet.' },
  { name: 'settings', hash: '#/settings', until: 'text=Since the start' },
];

/** Serves the preview build and starts a browser; gives a way to open a state, and one to end both. */
export async function visit() {
  const server = await preview({ mode: 'preview', preview: { port: 0, host: '127.0.0.1' }, logLevel: 'warn' });
  const base = `http://127.0.0.1:${server.httpServer.address().port}`;
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });

  /** Opens a state; `troubles` gathers what the console or the policy complains about, and requests to elsewhere. */
  async function open(state, { width, height = width < 600 ? 780 : 900, theme = 'light' }) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, deviceScaleFactor: width < 600 ? 2 : 1, reducedMotion: 'reduce' });
    const page = await context.newPage();
    const troubles = [];
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && troubles.push(message.text()));
    page.on('pageerror', (error) => troubles.push(String(error)));
    page.on('request', (request) => !request.url().startsWith(base) && !/^(data|blob):/.test(request.url()) && troubles.push(`asks ${request.url()}`));
    await page.goto(`${base}/?scene=${state.name}${state.hash ?? ''}`);
    await state.act?.(page);
    await page.locator(state.until).first().waitFor({ timeout: 10_000 });
    await page.evaluate(() => document.fonts.ready);
    return { page, troubles, close: () => context.close() };
  }

  return {
    open,
    async end() {
      await browser.close();
      await server.close();
    },
  };
}
