/**
 * All shares of this browser: what the user asks of them, what the machine tells of them, and what goes on by itself
 * after a reload. It knows neither threads nor networks.
 */

import { KollatorError } from '../errors.ts';
import type { MachineEvent } from '../machine-types.ts';
import { Active, type Kept } from './active.ts';
import type { OpenShare } from './disk.ts';
import { Lifecycle, type Ports, type ShareSettings, plain } from './lifecycle.ts';
import { FROM_DISK } from './pieces.ts';
import type { Share } from './share.ts';
import { Connected } from './sources.ts';

/** See the module's documentation. */
export class Shares {
  readonly connected = new Connected();
  readonly #ports: Ports;
  readonly #lifecycle: Lifecycle;
  readonly #actives = new Map<string, Active>();
  #seedingTime: number;

  constructor(ports: Ports, settings: ShareSettings) {
    this.#ports = ports;
    this.#seedingTime = settings.seedingTime;
    this.#lifecycle = new Lifecycle(ports, settings, (active) => this.#remove(active));
  }

  /** Learns of the shares that an earlier run kept. */
  async load(): Promise<void> {
    for (const record of await this.#ports.storage.list()) {
      if (!this.#actives.has(record.infoHash)) this.#add(record);
    }
  }

  /** Begins, or goes on, with everything. */
  go(): void {
    this.#lifecycle.isGoing = true;
    for (const active of this.#actives.values()) this.#lifecycle.begin(active);
  }

  /** Stops everything, to be gone on with later. */
  async rest(): Promise<void> {
    this.#lifecycle.isGoing = false;
    this.#lifecycle.isOnline = false;
    this.connected.clear();
    for (const active of this.#actives.values()) {
      if (active.share.phase === 'elsewhere') active.share.phase = active.record.phase;
      else if (active.isRunning) this.#lifecycle.keep(active);
      this.#lifecycle.halt(active);
    }
    await this.#lifecycle.stores.closeAll();
  }

  setSettings(settings: ShareSettings): void {
    const isOther = settings.seedingTime !== this.#seedingTime;
    this.#seedingTime = settings.seedingTime;
    this.#lifecycle.setSettings(settings);
    for (const active of this.#actives.values()) {
      if (isOther && isSettled(active.share)) this.#lifecycle.begin(active);
    }
  }

  get(infoHash: string): Share | undefined {
    return this.#actives.get(infoHash)?.share;
  }

  all(): Share[] {
    return [...this.#actives.values()].map((active) => active.share);
  }

  /** The open store of a share, for the machine. */
  opened(infoHash: string): OpenShare | Promise<OpenShare> | undefined {
    return this.#lifecycle.stores.get(infoHash);
  }

  /** Opens the store of a share for reading, even if nothing else is being done for it. */
  async openForReading(infoHash: string): Promise<OpenShare> {
    const { share } = this.#need(infoHash);
    if (!share.layout) throw new KollatorError('not-found', 'What the share holds is not known yet.');
    return this.#lifecycle.stores.open(infoHash, share.layout);
  }

  /** Nobody reads a share any more: it is let go of, unless something else is being done for it. */
  idle(infoHash: string): void {
    const active = this.#actives.get(infoHash);
    if (active && !active.isRunning) void this.#lifecycle.stores.close(infoHash);
  }

  /** Takes a new share that lies in the storage already: it is brought to workers. */
  addUpload(record: Kept): Share {
    const known = this.#actives.get(record.infoHash);
    if (known) return known.share;
    const active = this.#add(record);
    this.#lifecycle.keep(active);
    this.#lifecycle.begin(active);
    return active.share;
  }

  /** Gets a share. One that failed, or was paused, goes on; a link with a key mends one that came without. */
  addDownload(record: Kept): Share {
    const known = this.#actives.get(record.infoHash);
    if (!known) return this.addUpload(record);
    const { phase } = known.share;
    if (phase === 'failed' && record.key !== undefined) {
      const { key, link, personal = false } = record;
      Object.assign(known.record, { key, link, personal });
    }
    if (phase === 'failed' || phase === 'paused') this.resume(record.infoHash);
    return known.share;
  }

  pause(infoHash: string): void {
    const active = this.#need(infoHash);
    if (active.record.paused || active.share.phase === 'failed') return;
    active.record.paused = true;
    void this.#lifecycle.close(active);
    active.share.error = undefined;
    active.share.phase = 'paused';
    this.#lifecycle.keep(active);
    this.#ports.changed(active.share);
  }

  resume(infoHash: string): void {
    const active = this.#need(infoHash);
    const { share, record } = active;
    if (!record.paused && share.phase !== 'failed') return;
    delete record.paused;
    delete record.failure;
    if (record.phase === 'failed') record.phase = record.role === 'sent' ? 'uploading' : 'finding';
    share.error = undefined;
    share.phase = record.phase;
    this.#lifecycle.keep(active);
    this.#lifecycle.begin(active);
    this.#ports.changed(share);
  }

  setSeeding(infoHash: string, seeding: boolean): void {
    const active = this.#need(infoHash);
    active.record.seeding = seeding;
    if (isSettled(active.share)) {
      if (seeding) active.record.settledAt = this.#ports.now();
      this.#lifecycle.begin(active);
      if (!active.isRunning) void this.#lifecycle.stores.close(infoHash);
    }
    this.#lifecycle.keep(active);
    this.#ports.changed(active.share);
  }

  /** Stops a share and removes what is stored of it. */
  async delete(infoHash: string): Promise<void> {
    const active = this.#need(infoHash);
    await this.#lifecycle.close(active);
    try {
      await this.#ports.storage.delete(infoHash);
    } catch (error) {
      this.#lifecycle.begin(active);
      throw error;
    }
    this.#remove(active);
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
    if (active?.isRunning) this.#lifecycle.storageFailed(active, error);
  }

  /** The machine tells something. `now` is on the clock of speeds. */
  hear(event: MachineEvent, payload: Uint8Array, now: number): void {
    switch (event.kind) {
      case 'online':
        this.#lifecycle.isOnline = true;
        return this.#goOnOnline();
      case 'offline':
        this.#lifecycle.isOnline = false;
        return;
      case 'sourceUp':
        return this.connected.up(event.source, event.sourceKind);
      case 'sourceDown':
        this.connected.down(event.source);
        return this.#sourceChanged(event.source);
      case 'blamed':
        this.#blame(event.source, event.offence);
        return this.#sourceChanged(event.source);
      case 'frontComplained':
        return;
      default: {
        const active = this.#actives.get(event.infoHash);
        // What was stopped may still have something on its way.
        if (active?.isRunning) this.#hearOf(active, event, payload, now);
      }
    }
  }

  #hearOf(active: Active, event: Extract<MachineEvent, { infoHash: string }>, payload: Uint8Array, now: number): void {
    const { share, record } = active;
    switch (event.kind) {
      case 'metainfo':
        this.#lifecycle.learn(active, payload);
        break;
      case 'gained': {
        const { source, sourceKind, places, length } = event;
        const index = source && sourceKind ? share.sources.gain(source, sourceKind, length * places.length, now) : FROM_DISK;
        for (const place of places) share.pieces?.gain(place, length, index);
        break;
      }
      case 'stored':
        record.bytesStored = event.bytes;
        share.error = undefined;
        this.#lifecycle.keepNowAndThen(active);
        break;
      case 'safe':
        record.bytesStored = share.info?.totalLength ?? record.bytesStored;
        this.#lifecycle.settle(active, 'safe');
        break;
      case 'completed':
        share.note({ ...event.totals, bytesDone: event.totals.bytesTotal }, now);
        share.fill();
        share.isOffered = true;
        this.#lifecycle.settle(active, 'complete');
        break;
      case 'failed':
        this.#lifecycle.machineFailed(active, event.reason);
        break;
    }
    this.#ports.changed(share);
  }

  #add(record: Kept): Active {
    const active = new Active(record);
    const { share } = active;
    this.#actives.set(record.infoHash, active);
    try {
      if (record.ko) this.#lifecycle.read(active, record.ko);
      if (record.role === 'sent' || record.phase === 'complete') share.fill();
    } catch (error) {
      record.phase = 'failed';
      share.phase = 'failed';
      share.error = plain(error);
    }
    this.#ports.changed(share);
    return active;
  }

  #remove(active: Active): void {
    this.#lifecycle.halt(active);
    this.#actives.delete(active.infoHash);
    active.share.news.tell();
    this.#ports.removed(active.infoHash);
  }

  /** The front is back: what waited for it need not wait longer. */
  #goOnOnline(): void {
    for (const active of this.#actives.values()) {
      if (active.share.error && active.isRunning) this.#lifecycle.begin(active);
    }
  }

  /** Of what a liar's lies were, the machine does not tell: it is named at every share that may have asked it. */
  #blame(source: string, offence: string): void {
    const kind = this.connected.kind(source);
    for (const { share } of this.#actives.values()) {
      // One that is caught at its first block has given nothing that would have made it known.
      if (kind && (share.phase === 'finding' || share.phase === 'downloading')) share.sources.meet(source, kind);
      share.sources.blame(source, offence);
    }
  }

  #sourceChanged(source: string): void {
    for (const { share } of this.#actives.values()) {
      if (share.sources.has(source)) this.#ports.changed(share);
    }
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
