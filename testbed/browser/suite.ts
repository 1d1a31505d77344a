/**
 * How tests are run: each gets a folder and may open tabs; afterwards everything that it opened is closed, and if it
 * failed, what its tabs showed is kept. Tests never see each other's tabs, profiles or files.
 */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Network } from './network.ts';
import { Browser, type BrowserName, type Habits, type Tab } from './tab.ts';

/** What a test may use. */
export class Room {
  /** A folder that only this test has; gone after it. */
  readonly dir: string;
  readonly network: Network;
  #browsers: Browser[] = [];

  constructor(dir: string, network: Network) {
    this.dir = dir;
    this.network = network;
  }

  path(name: string): string {
    return join(this.dir, name);
  }

  /** Starts a browser with a new profile; `profile` names one that outlives it, within the test. */
  async browser(name: BrowserName, profile = `profile-${this.#browsers.length}`, habits: Habits = {}): Promise<Browser> {
    const browser = await Browser.launch(name, this.path(profile), this.path(`${profile}-saved`), habits);
    this.#browsers.push(browser);
    return browser;
  }

  /** A tab of a browser of its own. */
  async tab(name: BrowserName, url: string): Promise<Tab> {
    return (await this.browser(name)).open(url);
  }

  /** Saves what every open tab shows. */
  async keep(folder: string): Promise<void> {
    mkdirSync(folder, { recursive: true });
    for (const [b, browser] of this.#browsers.entries()) {
      for (const [t, tab] of browser.tabs.entries()) {
        const name = join(folder, `${b}-${browser.name}-${t}`);
        // A tab that cannot be looked at must not hide why the test failed.
        await tab.screenshot(`${name}.png`).catch((error: unknown) => tab.log.push(`no screenshot: ${error}`));
        writeFileSync(`${name}.log`, `${tab.log.join('\n')}\n`);
      }
    }
  }

  async close(): Promise<void> {
    for (const browser of this.#browsers) await browser.close();
  }
}

/** One test. */
export type Test = (room: Room) => Promise<void>;

/** Runs those of `tests` whose names match `pattern`; prints a line for each and, last, `N passed, M failed`. */
export async function runTests(
  tests: Record<string, Test>,
  pattern: RegExp,
  network: Network,
  artefacts: string,
): Promise<boolean> {
  let passed = 0;
  let failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    if (!pattern.test(name)) continue;
    const room = new Room(mkdtempSync(join(tmpdir(), `kollator-${name}-`)), network);
    const began = performance.now();
    try {
      await within(test(room), 300, 'the test');
      passed += 1;
      console.log(`ok ${name} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${name}\n${error instanceof Error ? error.stack : error}`);
      await within(room.keep(join(artefacts, name)), 60, 'keeping what the tabs showed').catch(console.log);
      console.log(`what its tabs showed is in ${join(artefacts, name)}`);
    } finally {
      await within(room.close(), 60, 'closing the browsers').catch(console.log);
      rmSync(room.dir, { recursive: true, force: true, maxRetries: 5 });
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0;
}

/** What `promise` becomes, or a failure after `seconds`. */
export async function within<T>(promise: Promise<T>, seconds: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Asks until `question` answers something true; fails after `seconds` with the last answer. */
export async function until<T>(
  what: string,
  question: () => Promise<T> | T,
  seconds = 60,
): Promise<Exclude<T, false | undefined | null | 0 | ''>> {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    const answer = await question();
    if (answer) return answer as Exclude<T, false | undefined | null | 0 | ''>;
    if (performance.now() > end) throw new Error(`${what}: not within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
