/**
 * Chromium and Firefox ESR behind one interface: headless, each with a profile of its own, settings as a user has them.
 * What a test knows of the app it learns as a user does, from the page; only `evaluate` looks behind it.
 */

import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import puppeteer, { type Browser as Puppet, type ElementHandle, type Page } from 'puppeteer-core';
import { until } from './suite.ts';

export type BrowserName = 'chromium' | 'firefox';

/** How a person uses a browser, where that is not with a plain window and everything on. */
export interface Habits {
  /** All windows are private ones: Firefox keeps no files for pages then. */
  private?: boolean;
  /** Pages get no service workers, as in Tor Browser and in the browsers inside other apps. */
  serviceWorkers?: false;
  /** Pages may keep nothing at all: no storage of any kind, no service workers. */
  cookies?: false;
}

/** Chromium's sandbox refuses root, which is who runs tests in a namespace; nothing that it may reach is asked for updates. */
const CHROMIUM_FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'];

/** A running browser. */
export class Browser {
  readonly name: BrowserName;
  /** Where files go that a page saves. */
  readonly saved: string;
  readonly tabs: Tab[] = [];
  #puppet: Puppet;

  private constructor(name: BrowserName, puppet: Puppet, saved: string) {
    this.name = name;
    this.#puppet = puppet;
    this.saved = saved;
  }

  /** Starts a browser on `profile`, a folder that need not exist. */
  static async launch(name: BrowserName, profile: string, saved: string, habits: Habits = {}): Promise<Browser> {
    mkdirSync(profile, { recursive: true });
    mkdirSync(saved, { recursive: true });
    const common = { headless: true, userDataDir: profile, protocolTimeout: 120_000, defaultViewport: null, downloadBehavior: { policy: 'allow' as const, downloadPath: saved } };
    if (name === 'chromium') {
      const executablePath = '/usr/bin/chromium';
      const args = habits.private ? [...CHROMIUM_FLAGS, '--incognito'] : CHROMIUM_FLAGS;
      const puppet = await puppeteer.launch({ ...common, executablePath, args });
      return new Browser(name, puppet, saved);
    }
    const puppet = await puppeteer.launch({
      ...common,
      browser: 'firefox',
      executablePath: '/usr/bin/firefox-esr',
      // A dialog nobody can answer would ask where to.
      extraPrefsFirefox: {
        'browser.download.dir': saved,
        'browser.download.folderList': 2,
        'browser.download.useDownloadDir': true,
        'browser.download.always_ask_before_handling_new_types': false,
        ...(habits.private && { 'browser.privatebrowsing.autostart': true }),
        ...(habits.serviceWorkers === false && { 'dom.serviceWorkers.enabled': false }),
        ...(habits.cookies === false && { 'network.cookie.cookieBehavior': 2 }),
      },
    });
    return new Browser(name, puppet, saved);
  }

  /** A new tab, with `url` loaded. */
  async open(url: string): Promise<Tab> {
    const tab = new Tab(this, await this.#puppet.newPage());
    this.tabs.push(tab);
    await tab.goto(url);
    return tab;
  }

  /** Ends it and all its processes as a power cut would. */
  async kill(): Promise<void> {
    const child = this.#puppet.process();
    if (child?.pid === undefined) throw new Error('the browser has no process');
    const gone = new Promise((resolve) => child.once('exit', resolve));
    for (const pid of [child.pid, ...descendants(child.pid)]) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended with its parent.
      }
    }
    await gone;
    this.tabs.length = 0;
    await this.#puppet.disconnect();
  }

  async close(): Promise<void> {
    if (!this.#puppet.connected) return;
    await this.#puppet.close();
  }

  /** Waits for a saved file to be whole; its path. */
  async savedFile(name: string, length: number, seconds = 120): Promise<string> {
    return join(await this.savedFiles({ [name]: length }, seconds), name);
  }

  /** Waits until exactly these files, given with their lengths, are saved; the folder that they are in. */
  async savedFiles(lengths: Record<string, number>, seconds = 120): Promise<string> {
    const there = () => readdirSync(this.saved).map((name) => [name, statSync(join(this.saved, name)).size] as const);
    await until(
      `${this.name} saves ${Object.keys(lengths).join(', ')}`,
      // Each browser has its own name for a file that is not all there.
      () => {
        const files = there();
        return files.length === Object.keys(lengths).length && files.every(([name, size]) => lengths[name] === size);
      },
      seconds,
    ).catch((error: unknown) => {
      throw new Error(`${error}; there is: ${there().join('; ') || 'nothing'}`);
    });
    return this.saved;
  }
}

/** The processes that a process started, and those that they did. */
function descendants(pid: number): number[] {
  const { stdout } = spawnSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' });
  const children = stdout.split('\n').map(Number).filter((child) => child > 0);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

/** A page in a browser. */
export class Tab {
  readonly browser: Browser;
  /** What the page wrote to its console, and what it failed at. */
  readonly log: string[] = [];
  readonly page: Page;

  constructor(browser: Browser, page: Page) {
    this.browser = browser;
    this.page = page;
    page.on('console', (message) => this.log.push(`${message.type()}: ${message.text()}`));
    page.on('pageerror', (error) => this.log.push(`uncaught: ${error}`));
  }

  async goto(url: string): Promise<void> {
    // A link to another share on the same page changes the fragment only, which loads nothing.
    await this.page.goto(url, { waitUntil: 'domcontentloaded' });
  }

  async reload(): Promise<void> {
    await this.page.reload({ waitUntil: 'domcontentloaded' });
  }

  async close(): Promise<void> {
    this.browser.tabs.splice(this.browser.tabs.indexOf(this), 1);
    await this.page.close();
  }

  async screenshot(path: string): Promise<void> {
    await this.page.screenshot({ path: path as `${string}.png` });
  }

  /** Runs `source`, the body of an async function, in the page; what it returns, which must be JSON. */
  async evaluate<T>(source: string): Promise<T> {
    return (await this.page.evaluate(`(async () => { ${source} })()`)) as T;
  }

  /** The element that has the test id, once it is there. */
  async find(id: string, seconds = 20): Promise<ElementHandle> {
    const found = await this.page.waitForSelector(`[data-testid="${id}"]`, { timeout: seconds * 1000 }).catch(() => null);
    if (!found) throw new Error(`${this.browser.name} shows no ${id}: ${(await this.text()).slice(0, 500)}`);
    return found;
  }

  /** Whether there is an element with the test id now. */
  async shows(id: string): Promise<boolean> {
    return (await this.page.$(`[data-testid="${id}"]`)) !== null;
  }

  /** Presses the element with the test id, wherever on the page it is. */
  async click(id: string): Promise<void> {
    const found = await this.find(id);
    await found.evaluate((element) => (element as HTMLElement).click());
  }

  /** An attribute of the first element with the test id; undefined if either is missing. */
  async attribute(id: string, name: string): Promise<string | undefined> {
    const source = `return document.querySelector('[data-testid="${id}"]')?.getAttribute('${name}') ?? null`;
    return (await this.evaluate<string | null>(source)) ?? undefined;
  }

  /** All text that the page shows, or that of one element. */
  async text(id?: string): Promise<string> {
    const element = id === undefined ? 'document.body' : `document.querySelector('[data-testid="${id}"]')`;
    return this.evaluate<string>(`return ${element}?.innerText ?? ''`);
  }
}
