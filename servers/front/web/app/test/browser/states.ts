/**
 * The states of the page, and how a browser gets to each of them in a preview build: shared by what looks at them and
 * what checks them. Traffic stays on loopback; nothing of the real network takes part.
 */

import { once } from 'node:events';

import { chromium, type BrowserContext, type Page } from 'playwright-core';
import { preview } from 'vite';

const HASH = '7d0c9f2c71d8e05b46a3c04e8b1fc04e8b1fc04e8b1fc04e8b1fc04e8b1fc04e';
/** A fragment that the imagined network knows a share for. */
export const LINK = `#${HASH}&k=pT4mWq0s9xLr2vBn7cYkE6hJ1dGfUaZo3iSb5NtQwXM`;
/** The same for one person only. */
export const PERSONAL = `#${HASH}&to=3p7bfXt9wbTTW2HC7OQ1NzDQ8hbeGdNrfxFGIK08pT4mWq0s9xLr2vBn7cYkE6hJ1dGfUaZo3iSb5NtQwXMq0s9xLr2vBn7cYkE6hJ1d`;
const SENT = '#/share/51ab9f2c71d8e05b46a3c04e8b1fc04e8b1fc04e8b1fc04e8b1fc04e8b1fc04e';

/** A person's public key. */
export const KEY = '3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08';

/** A state of the page. */
export interface State {
  /** Also the scene of the imagined network. */
  name: string;
  hash?: string;
  /** What is there once the state is reached. */
  until: string;
  act?: (page: Page) => Promise<void>;
}

/** Gives the page a file to share. */
export async function send(page: Page, name = 'Harbour concert.webm'): Promise<void> {
  await page.getByTestId('pick').setInputFiles({ name, mimeType: 'application/octet-stream', buffer: Buffer.alloc(3_000_000) });
}

/** Says that only the person with this key is to open what is shared. */
export async function forPerson(page: Page, key: string): Promise<void> {
  await page.getByText('Only one person').click();
  await page.getByLabel('Their key').fill(key);
}

/** All of them. */
export const STATES: State[] = [
  { name: 'home', until: 'text=Drop a file.' },
  { name: 'person', until: 'text=Drop a file.', act: (page) => forPerson(page, KEY) },
  { name: 'person-wrong', until: '[aria-invalid=true]', act: (page) => forPerson(page, KEY.slice(0, 30)) },
  { name: 'preparing', until: '[data-phase=preparing]', act: send },
  { name: 'uploading', hash: SENT, until: '[data-phase=uploading]' },
  { name: 'safe', hash: SENT, until: '[data-phase=safe]' },
  { name: 'receiving', hash: LINK, until: '[data-testid=sources] li' },
  { name: 'complete', hash: LINK, until: '[data-testid=sources] li' },
  { name: 'for-one', hash: SENT, until: '[data-phase=safe]' },
  { name: 'for-me', hash: PERSONAL, until: '[data-testid=sources] li' },
  { name: 'finding', hash: LINK, until: '[data-phase=finding]' },
  { name: 'elsewhere', hash: LINK, until: '[data-phase=elsewhere]' },
  { name: 'key-missing', hash: LINK, until: '[data-testid=error]' },
  { name: 'key-wrong', hash: LINK, until: '[data-testid=error]' },
  { name: 'somebody-else', hash: PERSONAL, until: '[data-testid=error]' },
  { name: 'not-found', hash: LINK, until: '[data-testid=error]' },
  { name: 'storage-full', hash: LINK, until: '[data-testid=error]' },
  { name: 'broken', hash: '#7d0c9f2c71d8', until: '[data-testid=error]' },
  { name: 'files', hash: '#/files', until: '[data-testid=share-item]' },
  { name: 'empty', hash: '#/files', until: 'text=Nothing here yet.' },
  { name: 'settings', hash: '#/settings', until: 'text=Since the start' },
];

/** How a window is. */
export interface Look {
  width: number;
  theme: 'light' | 'dark';
}

/** A page in a state. */
export interface Visit {
  page: Page;
  context: BrowserContext;
  /** What the console or the policy complained about, and requests to anywhere else. */
  troubles: string[];
}

/** A browser and the preview build. */
export interface Visitor {
  open(state: State, look?: Look): Promise<Visit>;
  end(): Promise<void>;
}

/** Serves the preview build and starts a browser. */
export async function visitor(): Promise<Visitor> {
  const server = await preview({ mode: 'preview', preview: { port: 0, host: '127.0.0.1' }, logLevel: 'warn' });
  const address = server.httpServer.address();
  if (address === null || typeof address === 'string') throw new Error('the preview listens nowhere');
  const base = `http://127.0.0.1:${address.port}`;
  const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: flags });

  async function open(state: State, { width, theme }: Look = { width: 1440, theme: 'light' }): Promise<Visit> {
    const phone = width < 600;
    const context = await browser.newContext({
      viewport: { width, height: phone ? 780 : 900 },
      colorScheme: theme,
      deviceScaleFactor: phone ? 2 : 1,
      reducedMotion: 'reduce',
    });
    const page = await context.newPage();
    const troubles: string[] = [];
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && troubles.push(message.text()));
    page.on('pageerror', (error) => troubles.push(String(error)));
    page.on('request', (request) => {
      if (!request.url().startsWith(base) && !/^(data|blob):/.test(request.url())) troubles.push(`asks ${request.url()}`);
    });
    await page.goto(`${base}/?scene=${state.name}${state.hash ?? ''}`);
    await state.act?.(page);
    await page.locator(state.until).first().waitFor({ timeout: 10_000 });
    await page.evaluate(() => document.fonts.ready);
    return { page, context, troubles };
  }

  async function end(): Promise<void> {
    await browser.close();
    const closed = once(server.httpServer, 'close');
    await server.close();
    await closed;
  }

  return { open, end };
}
