/**
 * What is done for each share, from the first wish to the last block: what goes on by itself after a reload, who waits
 * for a turn, what is tried again and what has failed. It speaks to the machine and to the storage through ports, and
 * knows neither threads nor networks.
 */

import { KollatorError } from '../errors.ts';
import type { Calls, Input, MachineEvent, Place } from '../machine-types.ts';
import { ElsewhereError, type ShareRecord, type Storage } from '../storage/storage.ts';
import type { Role, SourceKind } from '../types.ts';
import type { OpenShare } from './disk.ts';
import { FROM_DISK } from './pieces.ts';
import { type OpenMetainfo, readableOf } from './readable.ts';
import { Share } from './share.ts';
import { Connected } from './sources.ts';
import { Stores } from './stores.ts';
import { Turns } from './turns.ts';

/** What is kept of a share, besides what every storage needs. */
export interface Kept extends ShareRecord {
  /** Stopped by the user; `phase` says where. */
  paused?: boolean;
  /** When it became safe or complete, or serving others was switched on again. */
  settledAt?: number;
  sequential?: boolean;
}

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
  discoveryInterval: number;
}

/** Verified bytes were written, or found: what a chunk map is made of. */
export interface Gained {
  kind: 'gained';
  infoHash: string;
  places: Place[];
  length: number;
  /** Whoever gave them; nobody if they were here before. */
  source?: string | null;
  sourceKind?: SourceKind | null;
}

/** Pause before a share that workers do not take is offered again. */
const OFFER_AGAIN = 5000;
/** How often the record of a share that is moving is kept. */
const KEEP_EVERY = 2000;
/** Longest delay of a timer. */
const LONGEST_DELAY = 2 ** 31 - 1;

interface Active {
  share: Share;
  record: Kept;
  /** Told that whatever is being done for the share is not wanted any more. */
  run: AbortController;
  timer: ReturnType<typeof setTimeout> | undefined;
  keptAt: number;
}

/** See the module's documentation. */
export class Shares {
  readonly connected = new Connected();
  readonly #ports: Ports;
  readonly #stores: Stores;
  readonly #downloads: Turns;
  readonly #uploads: Turns;
  readonly #actives = new Map<string, Active>();
  #settings: ShareSettings;
  #isGoing = false;
  #isOnline = false;

  constructor(ports: Ports, settings: ShareSettings) {
    this.#ports = ports;
    this.#settings = settings;
    this.#stores = new Stores(ports.storage);
    this.#downloads = new Turns(settings.concurrentDownloads);
    this.#uploads = new Turns(settings.concurrentUploads);
  }

  /** Learns of the shares that an earlier run kept. */
  async load(): Promise<void> {
    for (const record of await this.#ports.storage.list()) {
      // One that was being prepared has lost its files.
      if (record.phase === 'preparing') await this.#ports.storage.delete(record.infoHash).catch(() => {});
      else if (!this.#actives.has(record.infoHash)) this.#add(record);
    }
  }

  /** Begins, or goes on, with everything. */
  go(): void {
    this.#isGoing = true;
    for (const active of this.#actives.values()) this.#begin(active);
  }

  /** Stops everything, to be gone on with later. */
  async rest(): Promise<void> {
    this.#isGoing = false;
    this.#isOnline = false;
    this.connected.clear();
    for (const active of this.#actives.values()) {
      if (active.share.phase === 'elsewhere') active.share.phase = active.record.phase;
      this.#halt(active);
      if (active.share.phase === 'uploading' || active.share.phase === 'downloading') this.#keep(active);
    }
    await this.#stores.closeAll();
  }

  setSettings(settings: ShareSettings): void {
    const changed = settings.seedingTime !== this.#settings.seedingTime;
    this.#settings = settings;
    this.#downloads.setLimit(settings.concurrentDownloads);
    this.#uploads.setLimit(settings.concurrentUploads);
    if (!changed) return;
    for (const active of this.#actives.values()) {
      if (isSettled(active.share)) this.#begin(active);
    }
  }

  get(infoHash: string): Share | undefined {
    return this.#actives.get(infoHash)?.share;
  }

  all(): Share[] {
    return [...this.#actives.values()].map((active) => active.share);
  }

  /** The open store of a share, for the machine. */
  opened(infoHash: string): Promise<OpenShare> | undefined {
    return this.#stores.get(infoHash);
  }

  /** Opens the store of a share for reading, even if nothing else is being done for it. */
  async openForReading(infoHash: string): Promise<OpenShare> {
    const share = this.#actives.get(infoHash)?.share;
    if (!share?.layout) throw new KollatorError('not-found', 'What the share holds is not known yet.');
    return this.#stores.open(infoHash, share.layout);
  }

  /** Nobody reads a share any more: it is let go of, unless something else is being done for it. */
  idle(infoHash: string): void {
    const active = this.#actives.get(infoHash);
    if (active?.run.signal.aborted) void this.#stores.close(infoHash);
  }

  /** Takes a new share that lies in the storage already: it is brought to workers. */
  addUpload(record: Kept): Share {
    const known = this.#actives.get(record.infoHash);
    if (known) return known.share;
    const active = this.#add(record);
    this.#keep(active);
    this.#begin(active);
    return active.share;
  }

  /** Gets a share. One that failed, or was paused, goes on. */
  addDownload(record: Kept): Share {
    const known = this.#actives.get(record.infoHash);
    if (!known) {
      const active = this.#add(record);
      this.#keep(active);
      this.#begin(active);
      return active.share;
    }
    if (record.key !== undefined && known.record.key !== record.key && known.share.phase === 'failed') {
      known.record.key = record.key;
      known.record.link = record.link;
    }
    if (known.share.phase === 'failed' || known.share.phase === 'paused') this.resume(record.infoHash);
    return known.share;
  }

  pause(infoHash: string): void {
    const active = this.#need(infoHash);
    if (active.record.paused) return;
    active.record.paused = true;
    this.#halt(active);
    void this.#stores.close(infoHash);
    active.share.error = undefined;
    active.share.phase = 'paused';
    this.#keep(active);
    this.#ports.changed(active.share);
  }

  resume(infoHash: string): void {
    const active = this.#need(infoHash);
    const hasFailed = active.share.phase === 'failed';
    if (!active.record.paused && !hasFailed) return;
    delete active.record.paused;
    active.share.error = undefined;
    if (hasFailed) active.record.phase = beginning(active.record.role);
    active.share.phase = active.record.phase;
    this.#keep(active);
    this.#begin(active);
    this.#ports.changed(active.share);
  }

  setSeeding(infoHash: string, seeding: boolean): void {
    const active = this.#need(infoHash);
    active.record.seeding = seeding;
    if (isSettled(active.share)) {
      if (seeding) active.record.settledAt = this.#ports.now();
      this.#begin(active);
    }
    this.#keep(active);
    this.#ports.changed(active.share);
  }

  /** Stops a share and removes what is stored of it. */
  async delete(infoHash: string): Promise<void> {
    const active = this.#need(infoHash);
    this.#halt(active);
    await this.#stores.close(infoHash);
    try {
      await this.#ports.storage.delete(infoHash);
    } catch (error) {
      this.#begin(active);
      throw error;
    }
    this.#actives.delete(infoHash);
    active.share.news.tell();
    this.#ports.removed(infoHash);
  }

  /** Bytes of a share were read for others. */
  served(infoHash: string, bytes: number, now: number): void {
    const share = this.get(infoHash);
    share?.up.add(bytes, now);
    if (share) this.#ports.changed(share);
  }

  /** A share's store failed. */
  diskFailed(infoHash: string, error: KollatorError): void {
    const active = this.#actives.get(infoHash);
    if (!active || active.run.signal.aborted) return;
    if (error instanceof ElsewhereError) this.#waitForOtherTab(active, error);
    else this.#fail(active, error);
  }

  /** The machine tells something. `now` is on the clock of speeds. */
  hear(event: MachineEvent | Gained, payload: Uint8Array, now: number): void {
    switch (event.kind) {
      case 'online':
        this.#isOnline = true;
        return this.#goOnOnline();
      case 'offline':
        this.#isOnline = false;
        return;
      case 'sourceUp':
        return this.connected.up(event.source, event.sourceKind);
      case 'sourceDown':
        this.connected.down(event.source);
        return this.#sourceChanged(event.source);
      case 'blamed':
        for (const { share } of this.#actives.values()) share.sources.blame(event.source, event.offence);
        return this.#sourceChanged(event.source);
      case 'frontComplained':
        return;
    }
    const active = this.#actives.get(event.infoHash);
    if (!active || active.run.signal.aborted) return;
    const { share, record } = active;
    switch (event.kind) {
      case 'metainfo':
        this.#learn(active, payload);
        break;
      case 'gained': {
        const { source, sourceKind } = event;
        const bytes = event.length * event.places.length;
        const index = source && sourceKind ? share.sources.gain(source, sourceKind, bytes, now) : FROM_DISK;
        for (const place of event.places) share.pieces?.gain(place, event.length, index);
        this.#keepNowAndThen(active);
        break;
      }
      case 'stored':
        record.bytesStored = event.bytes;
        share.error = undefined;
        this.#keepNowAndThen(active);
        break;
      case 'safe':
        record.bytesStored = share.info?.totalLength ?? record.bytesStored;
        this.#settle(active, 'safe');
        break;
      case 'completed':
        share.note({ ...event.totals, bytesDone: event.totals.bytesTotal }, now);
        share.fill();
        share.isOffered = true;
        this.#settle(active, 'complete');
        break;
      case 'failed':
        this.#machineFailed(active, event.reason);
        break;
    }
    this.#ports.changed(share);
  }

  #add(record: Kept): Active {
    const share = new Share(record);
    share.phase = record.paused ? 'paused' : record.phase;
    const active: Active = { share, record, run: new AbortController(), timer: undefined, keptAt: 0 };
    active.run.abort();
    this.#actives.set(record.infoHash, active);
    if (record.ko) {
      try {
        this.#read(active, record.ko);
        if (record.role === 'sent' || record.phase === 'complete') share.fill();
      } catch (error) {
        share.phase = 'failed';
        share.error = plain(error);
      }
    }
    this.#ports.changed(share);
    return active;
  }

  /** Does for a share what its phase asks for. Whatever was being done for it is stopped first. */
  #begin(active: Active): void {
    this.#halt(active);
    const { share, record } = active;
    if (!this.#isGoing || record.paused || record.phase === 'failed') return;
    active.run = new AbortController();
    const { signal } = active.run;
    share.phase = record.phase;
    share.error = undefined;
    switch (record.phase) {
      case 'uploading':
        this.#uploads.ask(record.infoHash, () => void this.#offer(active, signal, true));
        break;
      case 'finding':
      case 'downloading':
        this.#downloads.ask(record.infoHash, () => void this.#fetch(active, signal));
        break;
      case 'safe':
      case 'complete':
        if (this.#seedingLeft(record) > 0) void this.#offer(active, signal, false);
        break;
    }
    this.#ports.changed(share);
  }

  /** Stops whatever is being done for a share. */
  #halt(active: Active): void {
    const { infoHash } = active.record;
    clearTimeout(active.timer);
    if (!active.run.signal.aborted) {
      active.run.abort();
      this.#ports.input({ t: 'stop', infoHash });
    }
    active.share.isOffered = false;
    this.#downloads.done(infoHash);
    this.#uploads.done(infoHash);
  }

  async #offer(active: Active, signal: AbortSignal, upload: boolean): Promise<void> {
    const { share, record } = active;
    if (!record.ko || !share.layout) return;
    const open = await this.#open(active, signal);
    if (signal.aborted || !open) return;
    const { store } = open;
    if (store.available(0, store.bytes) < store.bytes) {
      // The machine takes a share to be whole, and would promise others what is not there.
      return this.#fail(active, new KollatorError('storage', 'Part of this share is not stored in this browser any more.'));
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
  }

  /** The store of a share. If it cannot be opened, what that means for the share is seen to. */
  async #open({ share: { layout, infoHash } }: Active, signal: AbortSignal): Promise<OpenShare | undefined> {
    try {
      return layout && (await this.#stores.open(infoHash, layout));
    } catch (error) {
      if (!signal.aborted) this.diskFailed(infoHash, asStorageError(error));
      return undefined;
    }
  }

  #waitForOtherTab(active: Active, error: ElsewhereError): void {
    this.#halt(active);
    active.run = new AbortController();
    const { signal } = active.run;
    active.share.phase = 'elsewhere';
    this.#ports.changed(active.share);
    const goOn = async (): Promise<void> => {
      await error.freed(signal);
      // The other tab may have got further with it, or deleted it.
      const records: Kept[] = await this.#ports.storage.list();
      if (signal.aborted) return;
      const record = records.find(({ infoHash }) => infoHash === active.record.infoHash);
      if (record) {
        active.record = record;
        active.share.record = record;
        this.#begin(active);
      } else {
        this.#halt(active);
        this.#actives.delete(active.record.infoHash);
        this.#ports.removed(active.record.infoHash);
      }
    };
    goOn().catch((failure: unknown) => {
      if (!signal.aborted) this.#fail(active, asStorageError(failure));
    });
  }

  /** The `.ko` of a download is here. */
  #learn(active: Active, ko: Uint8Array): void {
    const { share, record } = active;
    try {
      this.#read(active, ko);
    } catch (error) {
      return this.#fail(active, error);
    }
    record.ko = ko;
    record.phase = 'downloading';
    share.phase = 'downloading';
    this.#keep(active);
    // The machine's disk waits for it; what goes wrong is heard of from there.
    if (share.layout) this.#stores.open(share.infoHash, share.layout).catch(() => {});
  }

  #read({ share, record }: Active, ko: Uint8Array): void {
    const info = this.#ports.metainfoInfo(ko);
    share.learn(info, readableOf(info, ko, record.key, this.#ports.openMetainfo));
  }

  /** All of a share is where it is to be. */
  #settle(active: Active, phase: 'safe' | 'complete'): void {
    const { share, record } = active;
    record.phase = phase;
    share.phase = phase;
    share.error = undefined;
    record.settledAt = this.#ports.now();
    this.#downloads.done(record.infoHash);
    this.#uploads.done(record.infoHash);
    this.#keep(active);
    this.#endSeedingLater(active);
  }

  #endSeedingLater(active: Active): void {
    clearTimeout(active.timer);
    const left = this.#seedingLeft(active.record);
    const end = (): void => {
      if (this.#seedingLeft(active.record) > 0) return this.#endSeedingLater(active);
      this.#halt(active);
      void this.#stores.close(active.record.infoHash);
      this.#ports.changed(active.share);
    };
    active.timer = setTimeout(end, Math.min(Math.max(left, 0), LONGEST_DELAY));
  }

  /** Milliseconds for which others may still be served. */
  #seedingLeft(record: Kept): number {
    if (!record.seeding) return 0;
    return (record.settledAt ?? record.addedAt) + this.#settings.seedingTime - this.#ports.now();
  }

  #machineFailed(active: Active, reason: string): void {
    const { share, record } = active;
    const isUpload = record.phase === 'uploading';
    if (isUpload || record.phase === 'downloading' || !this.#isOnline) {
      // It has happened before it failed, so it may happen again: nothing is lost by waiting.
      share.error = { code: this.#isOnline ? 'not-found' : 'offline', message: reason };
      share.isOffered = false;
      clearTimeout(active.timer);
      const pause = isUpload ? OFFER_AGAIN : this.#settings.discoveryInterval;
      active.timer = setTimeout(() => this.#beginAgain(active), pause);
    } else {
      this.#fail(active, new KollatorError('not-found', reason));
    }
  }

  /** Begins again, keeping what the user was told until there is news. */
  #beginAgain(active: Active): void {
    const { error } = active.share;
    this.#begin(active);
    if (error) active.share.error = error;
  }

  #goOnOnline(): void {
    for (const active of this.#actives.values()) {
      if (active.share.error && !active.run.signal.aborted && active.share.phase !== 'failed') this.#begin(active);
    }
  }

  #fail(active: Active, error: unknown): void {
    this.#halt(active);
    void this.#stores.close(active.record.infoHash);
    active.record.phase = 'failed';
    active.share.phase = 'failed';
    active.share.error = plain(error);
    this.#keep(active);
    this.#ports.changed(active.share);
  }

  #sourceChanged(source: string): void {
    for (const { share } of this.#actives.values()) {
      if (share.sources.has(source)) this.#ports.changed(share);
    }
  }

  #keepNowAndThen(active: Active): void {
    if (this.#ports.now() >= active.keptAt + KEEP_EVERY) this.#keep(active);
  }

  #keep(active: Active): void {
    active.keptAt = this.#ports.now();
    this.#ports.storage.putRecord({ ...active.record }).catch((error: unknown) => {
      // What is shared goes on; after a reload it may not.
      active.share.error = plain(error);
      this.#ports.changed(active.share);
    });
  }

  #need(infoHash: string): Active {
    const active = this.#actives.get(infoHash);
    if (!active) throw new KollatorError('not-found', 'There is no such share here.');
    return active;
  }
}

function isSettled(share: Share): boolean {
  return share.phase === 'safe' || share.phase === 'complete';
}

function beginning(role: Role): 'uploading' | 'finding' {
  return role === 'sent' ? 'uploading' : 'finding';
}

function asStorageError(error: unknown): KollatorError {
  if (error instanceof KollatorError) return error;
  return new KollatorError('storage', error instanceof Error ? error.message : String(error), { cause: error });
}

function plain(error: unknown): { code: KollatorError['code']; message: string } {
  const { code, message } = error instanceof KollatorError ? error : new KollatorError('broken', String(error));
  return { code, message };
}
