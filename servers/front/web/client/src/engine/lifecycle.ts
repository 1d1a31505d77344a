/**
 * What is done for one share at a time, by the phase it is in: bringing it to workers, getting it, serving it, waiting
 * for another tab, trying again. Everything it begins can be stopped at any moment.
 */

import { KollatorError } from '../errors.ts';
import type { Calls, Input } from '../machine-types.ts';
import { ElsewhereError, type Storage } from '../storage/storage.ts';
import type { Active, Kept } from './active.ts';
import type { OpenShare } from './disk.ts';
import { type OpenMetainfo, readableOf } from './readable.ts';
import type { Share } from './share.ts';
import { Stores } from './stores.ts';
import { Turns } from './turns.ts';

/** What shares are done with. */
export interface Ports {
  storage: Storage;
  input(input: Input, payload?: Uint8Array): void;
  metainfoInfo(ko: Uint8Array): Calls['metainfoInfo']['ok'];
  openMetainfo: OpenMetainfo;
  /** A share looks different now. */
  changed(share: Share): void;
  removed(infoHash: string): void;
  /** Milliseconds since 1970. */
  now(): number;
}

/** Settings that may change while shares are at work. Times are milliseconds. */
export interface ShareSettings {
  concurrentDownloads: number;
  concurrentUploads: number;
  seedingTime: number;
}

/** Pause before a share that workers do not take is offered again. */
const OFFER_AGAIN = 5000;
/** Pause before a download that nobody fed is begun again: what is here of it is read again then. */
const FETCH_AGAIN = 30_000;
/** How often the record of a share that is moving is kept. */
const KEEP_EVERY = 2000;

/** See the module's documentation. */
export class Lifecycle {
  readonly stores: Stores;
  isOnline = false;
  /** Whether there is a machine to do anything with. */
  isGoing = false;
  readonly #ports: Ports;
  readonly #downloads: Turns;
  readonly #uploads: Turns;
  /** A share is not here any more: another tab deleted it. */
  readonly #vanished: (active: Active) => void;
  #settings: ShareSettings;

  constructor(ports: Ports, settings: ShareSettings, vanished: (active: Active) => void) {
    this.#ports = ports;
    this.#settings = settings;
    this.#vanished = vanished;
    this.stores = new Stores(ports.storage);
    this.#downloads = new Turns(settings.concurrentDownloads);
    this.#uploads = new Turns(settings.concurrentUploads);
  }

  setSettings(settings: ShareSettings): void {
    this.#settings = settings;
    this.#downloads.setLimit(settings.concurrentDownloads);
    this.#uploads.setLimit(settings.concurrentUploads);
  }

  /** Does for a share what its phase asks for. Whatever was being done for it is stopped first. */
  begin(active: Active): void {
    this.halt(active);
    const { share, record } = active;
    if (!this.isGoing || record.paused || record.phase === 'failed') return;
    share.phase = record.phase;
    share.error = undefined;
    const signal = active.start();
    switch (record.phase) {
      case 'uploading':
        this.#uploads.ask(record.infoHash, () => void this.#offer(active, signal, true));
        break;
      case 'finding':
      case 'downloading':
        this.#downloads.ask(record.infoHash, () => void this.#fetch(active, signal));
        break;
      default:
        if (this.#seedingLeft(active) > 0) void this.#offer(active, signal, false);
        else active.stop();
    }
    this.#ports.changed(share);
  }

  /** Stops whatever is being done for a share. */
  halt(active: Active): void {
    if (active.isRunning) this.#ports.input({ t: 'stop', infoHash: active.infoHash });
    active.stop();
    active.share.isOffered = false;
    this.#downloads.done(active.infoHash);
    this.#uploads.done(active.infoHash);
  }

  /** Stops a share and lets go of its bytes. */
  close(active: Active): Promise<void> {
    this.halt(active);
    return this.stores.close(active.infoHash);
  }

  /** It ends here, until the user wants it again. */
  fail(active: Active, error: unknown): void {
    void this.close(active);
    active.record.phase = 'failed';
    active.record.failure = plain(error);
    active.share.phase = 'failed';
    active.share.error = active.record.failure;
    this.keep(active);
    this.#ports.changed(active.share);
  }

  /** Its store cannot be used. */
  storageFailed(active: Active, error: unknown): void {
    if (error instanceof ElsewhereError) this.#waitForOtherTab(active, error);
    else this.fail(active, error instanceof KollatorError ? error : new KollatorError('storage', wordsOf(error), { cause: error }));
  }

  /** Learns what a `.ko` says. Throws if it cannot be read. */
  read({ share, record }: Active, ko: Uint8Array): void {
    const info = this.#ports.metainfoInfo(ko);
    share.learn(info, readableOf(info, ko, record.key, this.#ports.openMetainfo));
  }

  /** The `.ko` of a download is here. */
  learn(active: Active, ko: Uint8Array): void {
    const { share, record } = active;
    try {
      this.read(active, ko);
    } catch (error) {
      return this.fail(active, error);
    }
    record.ko = ko;
    record.phase = 'downloading';
    share.phase = 'downloading';
    this.keep(active);
    // The machine's disk waits for it; what goes wrong is heard of from there.
    if (share.layout) this.stores.open(share.infoHash, share.layout).catch(() => {});
  }

  /** All of a share is where it is to be. */
  settle(active: Active, phase: 'safe' | 'complete'): void {
    const { share, record } = active;
    record.phase = phase;
    share.phase = phase;
    share.error = undefined;
    record.settledAt = this.#ports.now();
    this.#downloads.done(record.infoHash);
    this.#uploads.done(record.infoHash);
    this.keep(active);
    this.#endSeedingLater(active);
  }

  /** The machine gave a share up. */
  machineFailed(active: Active, reason: string): void {
    const { share, record } = active;
    const isUpload = record.phase === 'uploading';
    if (!isUpload && record.phase !== 'downloading' && this.isOnline) {
      return this.fail(active, new KollatorError('not-found', reason));
    }
    // What went well before may go well again: nothing is lost by waiting.
    share.error = { code: this.isOnline ? 'not-found' : 'offline', message: reason };
    share.isOffered = false;
    active.later(isUpload ? OFFER_AGAIN : FETCH_AGAIN, () => {
      const { error } = share;
      this.begin(active);
      // The user goes on being told, until there is news.
      share.error = error;
    });
  }

  /** Keeps the record of a share, for the next run. */
  keep(active: Active): void {
    active.keptAt = this.#ports.now();
    this.#ports.storage.putRecord({ ...active.record }).catch((error: unknown) => {
      // What is shared goes on; after a reload it may not.
      active.share.error = plain(error);
      this.#ports.changed(active.share);
    });
  }

  /** Keeps it if that was long ago. */
  keepNowAndThen(active: Active): void {
    if (this.#ports.now() >= active.keptAt + KEEP_EVERY) this.keep(active);
  }

  async #offer(active: Active, signal: AbortSignal, upload: boolean): Promise<void> {
    const { share, record } = active;
    const open = await this.#open(active, signal);
    if (signal.aborted || !open || !record.ko) return;
    const { store } = open;
    if (store.available(0, store.bytes) < store.bytes) {
      // The machine takes a share to be whole, and would promise others what is not there.
      return this.fail(active, new KollatorError('storage', 'Part of this share is not stored in this browser any more.'));
    }
    this.#ports.input({ t: 'share', upload }, record.ko);
    share.isOffered = true;
    if (!upload) this.#endSeedingLater(active);
    this.#ports.changed(share);
  }

  async #fetch(active: Active, signal: AbortSignal): Promise<void> {
    const { infoHash, ko, sequential = false } = active.record;
    // Opened before the machine asks for it, so that a share that another tab has never gets under way.
    if (ko && !(await this.#open(active, signal))) return;
    if (signal.aborted) return;
    this.#ports.input({ t: 'download', infoHash, sequential }, ko);
    this.#ports.changed(active.share);
  }

  /** The store of a share. If it cannot be opened, what that means for the share is seen to. */
  async #open(active: Active, signal: AbortSignal): Promise<OpenShare | undefined> {
    const { layout, infoHash } = active.share;
    try {
      return layout && (await this.stores.open(infoHash, layout));
    } catch (error) {
      if (!signal.aborted) this.storageFailed(active, error);
      return undefined;
    }
  }

  #waitForOtherTab(active: Active, error: ElsewhereError): void {
    this.halt(active);
    const signal = active.start();
    active.share.phase = 'elsewhere';
    this.#ports.changed(active.share);
    const goOn = async (): Promise<void> => {
      await error.freed(signal);
      // The other tab may have got further with it, or deleted it.
      const records: Kept[] = await this.#ports.storage.list();
      if (signal.aborted) return;
      const record = records.find(({ infoHash }) => infoHash === active.infoHash);
      if (!record) return this.#vanished(active);
      active.replace(record);
      this.begin(active);
    };
    goOn().catch((failure: unknown) => {
      if (!signal.aborted) this.storageFailed(active, failure);
    });
  }

  #endSeedingLater(active: Active): void {
    active.later(this.#seedingLeft(active), () => {
      if (this.#seedingLeft(active) > 0) return this.#endSeedingLater(active);
      void this.close(active);
      this.#ports.changed(active.share);
    });
  }

  #seedingLeft(active: Active): number {
    return active.seedingLeft(this.#settings.seedingTime, this.#ports.now());
  }
}

/** An error as the user is told of it. */
export function plain(error: unknown): { code: KollatorError['code']; message: string } {
  const { code, message } = error instanceof KollatorError ? error : new KollatorError('broken', wordsOf(error));
  return { code, message };
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
