/**
 * The app as a test uses it: what a person does on its page, and what the page says. The test ids named here are what
 * app and tests have agreed on.
 */

import type { ElementHandle } from 'puppeteer-core';
import { until, type Room } from './suite.ts';
import type { Browser, BrowserName, Tab } from './tab.ts';

/** Verified bytes by where they came from, as the chunk map's legend has them. */
export interface From {
  disk: number;
  worker: number;
  peer: number;
  http: number;
}

/** How far a share is, in bytes. */
export interface Progress {
  done: number;
  total: number;
}

/** A tab that shows the app. */
export class App {
  readonly tab: Tab;

  constructor(tab: Tab) {
    this.tab = tab;
  }

  /** The app in a browser of its own; the start page, or a link's. */
  static async start(room: Room, name: BrowserName, url = room.network.front): Promise<App> {
    return new App(await room.tab(name, url));
  }

  /** The app in a new tab of `browser`. */
  static async open(browser: Browser, url: string): Promise<App> {
    return new App(await browser.open(url));
  }

  /** Chooses files, as the button for that does. */
  async pick(...paths: string[]): Promise<void> {
    await this.#choose('pick', paths);
  }

  /** Chooses a folder. */
  async pickFolder(path: string): Promise<void> {
    await this.#choose('pick-folder', [path]);
  }

  async #choose(id: string, paths: string[]): Promise<void> {
    // It's hidden behind a button that would open the system's dialog.
    const input = (await this.tab.find(id)) as ElementHandle<HTMLInputElement>;
    await input.uploadFile(...paths);
  }

  /** Says that only the person who has this key is to open what is shared next. */
  async forPerson(key: string): Promise<void> {
    await this.tab.click('choose-person');
    await (await this.tab.find('person')).type(key);
  }

  /** The key of this browser, as the settings show it. */
  async publicKey(): Promise<string> {
    await this.tab.goto(`${new URL(this.tab.page.url()).origin}/#/settings`);
    const source = `return document.querySelector('[data-testid="public-key"]')?.value ?? ''`;
    return until('a key', () => this.tab.evaluate<string>(source), 30);
  }

  /** The link, once it is shown. */
  async link(seconds = 120): Promise<string> {
    const source = `return document.querySelector('[data-testid="share-link"]')?.value ?? ''`;
    return until('a link', async () => (await this.noTrouble(), this.tab.evaluate<string>(source)), seconds);
  }

  /** What the share is at; undefined while no share is shown. */
  phase(): Promise<string | undefined> {
    return this.tab.attribute('state', 'data-phase');
  }

  /** Waits for a phase. */
  async reaches(phase: string, seconds = 180): Promise<void> {
    let last: string | undefined;
    await until(phase, async () => {
      last = await this.phase();
      if (phase !== 'failed') await this.noTrouble();
      return last === phase;
    }, seconds).catch(async (error: unknown) => {
      const progress = await this.progress();
      throw new Error(`${error}; it is at ${last}, ${progress?.done} of ${progress?.total}: ${await this.tab.text('state')}`);
    });
  }

  /** Fails with what the page says is wrong, if it says so. */
  async noTrouble(): Promise<void> {
    const trouble = await this.tab.text('error');
    if (trouble) throw new Error(`the page says: ${trouble}`);
  }

  /** What the page says is wrong, once it does: its code and its words. */
  async trouble(): Promise<{ code: string | undefined; words: string }> {
    await this.tab.find('error', 60);
    return { code: await this.tab.attribute('error', 'data-code'), words: await this.tab.text('error') };
  }

  async progress(): Promise<Progress | undefined> {
    const done = await this.tab.attribute('progress', 'data-done');
    const total = await this.tab.attribute('progress', 'data-total');
    return done === undefined || total === undefined ? undefined : { done: Number(done), total: Number(total) };
  }

  /** Waits until at least a part of a download, from 0 to 1, is here; how far it is. */
  async passes(part: number, seconds = 120): Promise<Progress> {
    return until(`${part * 100}%`, async () => {
      await this.noTrouble();
      const progress = await this.progress();
      return progress && progress.total > 0 && progress.done >= part * progress.total && progress;
    }, seconds);
  }

  async from(): Promise<From> {
    const bytes = async (kind: string) => Number((await this.tab.attribute('sources', `data-${kind}`)) ?? 0);
    return { disk: await bytes('disk'), worker: await bytes('worker'), peer: await bytes('peer'), http: await bytes('http') };
  }

  /** Saves the share's first file; where it is then. */
  async save(name: string, length: number): Promise<string> {
    await this.tab.click('save');
    return this.tab.browser.savedFile(name, length);
  }

  /** Saves all files of a share; where the folder is that they are in. */
  async saveAll(lengths: Record<string, number>): Promise<string> {
    const count = await this.tab.evaluate<number>(`return document.querySelectorAll('[data-testid="save"]').length`);
    for (let n = 0; n < count; n += 1) {
      await this.tab.evaluate(`document.querySelectorAll('[data-testid="save"]')[${n}].click()`);
      // Some browsers take several downloads at once for an attack.
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    return this.tab.browser.savedFiles(lengths);
  }
}
