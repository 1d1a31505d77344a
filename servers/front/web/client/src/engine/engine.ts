/**
 * The engine: shares, storage and, while connected, a running machine, behind the methods that the page may call. It
 * lives in a worker, so that hashing and copying never hold the page up.
 */

import { KollatorError, checkAborted } from '../errors.ts';
import type { MachineConfig } from '../machine-types.ts';
import { Machine } from '../machine.ts';
import { checkPublicKey, publicKeyOf, unwrapKey } from '../person.ts';
import type { Asked } from '../rpc.ts';
import type { RtcCommand, RtcEvent } from '../rtc/messages.ts';
import { openStorage, type Storage } from '../storage/index.ts';
import type { ChunkMap, ConnectedSource, ShareState, Stats, UploadItem, UploadOptions } from '../types.ts';
import type { Kept } from './active.ts';
import { Announcer } from './announcer.ts';
import type { ShareSettings } from './lifecycle.ts';
import { shareLink } from './link-of.ts';
import { Meetings } from './meetings.ts';
import { Network } from './network.ts';
import { prepareUpload } from './prepare-upload.ts';
import type { FromEngine, Part, Settings } from './protocol.ts';
import { openMetainfo } from './readable.ts';
import { Reader } from './reader.ts';
import { Share } from './share.ts';
import { Shares } from './shares.ts';
import { Connected } from './sources.ts';
import { Turns } from './turns.ts';
import { Watchers } from './watchers.ts';

/** How the engine speaks to the page. */
export type Tell = (message: FromEngine, transfer?: Transferable[]) => void;

/** What the user chose for a new share. */
type UploadChoices = Pick<UploadOptions, 'name' | 'encrypt' | 'to'>;

/** Shortest time between two tellings of how the network is, in milliseconds. */
const NETWORK_BETWEEN = 500;

/** See the module's documentation. */
export class Engine {
  readonly #tell: Tell;
  readonly #module: WebAssembly.Module;
  readonly #storage: Storage;
  readonly #shares: Shares;
  readonly #announcer: Announcer;
  readonly #reader: Reader;
  readonly #watchers = new Watchers();
  readonly #meetings = new Meetings();
  /** Reading and hashing keeps every core busy: one share at a time. */
  readonly #preparing = new Turns(1);
  #settings: Settings;
  /** For pure functions while disconnected, and the running one while connected. */
  #machine: Machine;
  #network: Network | undefined;
  #peerId = randomHex(32);
  #offline: string | undefined;
  #worker: string | undefined;
  #isOnline = false;
  #networkTimer: ReturnType<typeof setTimeout> | undefined;

  private constructor(module: WebAssembly.Module, machine: Machine, storage: Storage, settings: Settings, tell: Tell) {
    this.#tell = tell;
    this.#module = module;
    this.#machine = machine;
    this.#storage = storage;
    this.#settings = settings;
    this.#announcer = new Announcer(
      (infoHash) => this.#stateOf(infoHash),
      (state) => this.#announce(state),
      () => performance.now(),
    );
    this.#shares = new Shares(
      {
        storage,
        input: (input, payload) => this.#network?.input(input, payload),
        metainfoInfo: (ko) => this.#machine.call({ t: 'metainfoInfo' }, ko).ok,
        openMetainfo: (key, ko) => openMetainfo(this.#machine, key, ko),
        changed: (share) => {
          share.news.tell();
          this.#announcer.changed(share.infoHash, share.phase);
        },
        removed: (infoHash) => this.#removed(infoHash),
        now: () => Date.now(),
      },
      shareSettings(settings),
    );
    this.#reader = new Reader({
      share: (infoHash) => this.#shares.get(infoHash),
      open: (infoHash) => this.#shares.openForReading(infoHash),
      contentKeys: ({ record: { key = '', ko } }) => this.#machine.call({ t: 'openMetainfo', key }, ko).payload,
      seek: (infoHash, file, offset) => this.#network?.input({ t: 'seek', infoHash, file, offset }),
      idle: (infoHash) => {
        this.#network?.input({ t: 'seek', infoHash });
        this.#shares.idle(infoHash);
      },
    });
  }

  /** An engine with the shares that this browser keeps; not connected yet. */
  static async open(module: WebAssembly.Module, settings: Settings, tell: Tell): Promise<Engine> {
    const [machine, storage] = await Promise.all([Machine.load(module), openStorage(settings.storage)]);
    const engine = new Engine(module, machine, storage, settings, tell);
    await engine.#shares.load();
    return engine;
  }

  /** The shares as they stand. */
  states(): ShareState[] {
    return this.#shares.all().map((share) => this.#state(share));
  }

  /** Connects to a front, and goes on with every share. */
  async connect(): Promise<void> {
    if (this.#network) return;
    const machine = await Machine.load(this.#module);
    if (this.#network) return;
    const { fronts, relayOnly, uploadLimit, downloadLimit, discoveryInterval } = this.#settings;
    const config: MachineConfig = {
      id: this.#peerId,
      seed: BigInt.asUintN(64, BigInt(`0x${randomHex(8)}`)).toString(),
      fronts: fronts.length,
      // A request over HTTP would tell a worker this machine's address.
      http: relayOnly ? 'never' : 'helping',
      discoveryInterval: wholeMilliseconds(discoveryInterval),
      uploadLimit,
      downloadLimit,
    };
    machine.start(config);
    this.#machine = machine;
    this.#network = new Network(
      machine,
      { fronts, relayOnly },
      {
        tellPage: (command: RtcCommand, transfer) => this.#tell({ t: 'rtc', command }, transfer),
        opened: (infoHash) => this.#shares.opened(infoHash),
        diskFailed: (infoHash, error) => this.#shares.diskFailed(infoHash, error),
        served: (infoHash, bytes) => this.#shares.served(infoHash, bytes, performance.now()),
        broken: (error) => this.#tell({ t: 'broken', message: error instanceof Error ? error.message : String(error) }),
        hear: (event, payload) => {
          if (event.kind === 'online') [this.#isOnline, this.#worker, this.#offline] = [true, event.worker ?? undefined, undefined];
          if (event.kind === 'offline') [this.#isOnline, this.#offline] = [false, event.reason];
          if (event.kind === 'met') return this.#meetings.hear(event.infoHash, event.source, event.error);
          this.#shares.hear(event, payload, performance.now());
          if (event.kind === 'online' || event.kind === 'offline' || event.kind.startsWith('source')) this.#tellNetworkSoon();
        },
      },
    );
    this.#shares.go();
  }

  /** Stops everything and leaves the network. */
  async disconnect(): Promise<void> {
    const network = this.#network;
    if (!network) return;
    this.#meetings.leave();
    await this.#shares.rest();
    this.#network = undefined;
    [this.#isOnline, this.#worker, this.#offline] = [false, undefined, undefined];
    await network.end();
    for (const share of this.#shares.all()) share.news.tell();
    for (const share of this.#shares.all()) this.#announcer.changed(share.infoHash, share.phase);
    this.#tellNetworkSoon();
  }

  setSettings(settings: Settings): void {
    this.#settings = settings;
    this.#shares.setSettings(shareSettings(settings));
    this.#network?.setRelayOnly(settings.relayOnly);
    this.#network?.input({ t: 'setDiscovery', interval: wholeMilliseconds(settings.discoveryInterval) });
    this.#network?.input({ t: 'setLimits', upload: settings.uploadLimit, download: settings.downloadLimit });
  }

  /** Takes what the page tells of connections. */
  hear(event: RtcEvent): void {
    this.#network?.hear(event);
  }

  /** Prepares a share, and begins to bring it to workers. Answers when there is a link. */
  async upload({ signal, note }: Asked, items: UploadItem[], options: UploadChoices): Promise<ShareState> {
    const { to, encrypt } = options;
    if (to !== undefined) checkPublicKey(to);
    if (to !== undefined && encrypt === false) throw new KollatorError('refused', 'What is for one person only has to be encrypted.');
    const turn = crypto.randomUUID();
    await new Promise<void>((resolve) => this.#preparing.ask(turn, resolve));
    try {
      checkAborted(signal);
      const { fronts, chunkSize } = this.#settings;
      const tellProgress = (done: number, total: number): void => note(preparing(items, options, done, total));
      tellProgress(0, items.reduce((sum, { file }) => sum + file.size, 0));
      const made = await prepareUpload(items, {
        ...options,
        fronts,
        chunkSize,
        storage: this.#storage,
        machine: this.#machine,
        isKnown: (infoHash) => this.#shares.get(infoHash) !== undefined,
        onProgress: tellProgress,
        signal,
      });
      return this.#state(typeof made === 'string' ? this.#need(made) : this.#shares.addUpload(made));
    } finally {
      this.#preparing.done(turn);
    }
  }

  /** Begins to get a share. */
  async add(link: string, { sequential = false }: { sequential?: boolean }): Promise<ShareState> {
    const parsed = this.#machine.call({ t: 'parseLink', text: link }).ok;
    const { infoHash } = parsed;
    const key = parsed.key ?? (await this.#unwrapped(infoHash, parsed.to));
    const fronts = parsed.fronts.length > 0 ? parsed.fronts : this.#settings.fronts;
    const record: Kept = {
      infoHash,
      role: 'received',
      phase: 'finding',
      name: parsed.name ?? '',
      link: /^https?:/i.test(link.trim()) ? link.trim() : shareLink(this.#machine, { ...parsed, fronts }),
      ...(key ? { key } : {}),
      ...(parsed.to ? { personal: true } : {}),
      addedAt: Date.now(),
      seeding: true,
      bytesStored: 0,
      ...(sequential ? { sequential } : {}),
    };
    return this.#state(this.#shares.addDownload(record));
  }

  /** Waits until a share is safe or complete. */
  async settled({ signal, note }: Asked, infoHash: string): Promise<ShareState> {
    const share = this.#need(infoHash);
    const settled = this.#watchers.settled(infoHash, note, signal);
    this.#watchers.tell(this.#state(share), share.error?.code);
    return settled;
  }

  pause(infoHash: string): void {
    this.#shares.pause(infoHash);
  }

  resume(infoHash: string): void {
    this.#shares.resume(infoHash);
  }

  setSeeding(infoHash: string, seeding: boolean): void {
    this.#shares.setSeeding(infoHash, seeding);
  }

  async delete(infoHash: string): Promise<void> {
    await this.#shares.delete(infoHash);
  }

  /** A file of a share, once it is known what that holds. */
  file(infoHash: string, file: number, signal: AbortSignal): Promise<{ path: string; length: number }> {
    return this.#reader.file(infoHash, file, signal);
  }

  /** The bytes of a part of a readable file, once they are here. */
  read({ signal }: Asked, part: Part): Promise<Uint8Array<ArrayBuffer>> {
    return this.#reader.read(part, signal);
  }

  chunkMap(infoHash: string): ChunkMap {
    const { pieces } = this.#need(infoHash);
    return pieces?.map() ?? { pieces: new Uint8Array(), filled: new Uint8Array() };
  }

  /** Nodes and servers that are connected, with what they gave to all shares together, and were given. */
  peers(): ConnectedSource[] {
    const now = performance.now();
    const sessions = this.#network ? this.#machine.call({ t: 'connected' }).ok : [];
    const sent = new Map(sessions.map(({ source, bytesSent }) => [source, bytesSent]));
    const given = this.#shares.all().flatMap((share) => share.sources.list(this.#shares.connected, now));
    return [...this.#shares.connected.entries()].map(([name, kind], at) => {
      const of = given.filter((source) => source.name === name);
      const sum = (field: 'bytes' | 'speed'): number => of.reduce((total, source) => total + source[field], 0);
      return { index: at + 2, name, kind, connected: true, bytes: sum('bytes'), speed: sum('speed'), sent: sent.get(name) ?? 0 };
    });
  }

  /** Connects to a peer for a share: to take it from there, or to let it be taken. */
  async meet({ signal }: Asked, infoHash: string, peer: string, purpose: 'request' | 'send'): Promise<void> {
    if (!/^[0-9a-f]{64}$/.test(peer)) throw new KollatorError('refused', 'A peer id is 64 lower-case hexadecimal digits.');
    for (;;) {
      const share = this.#need(infoHash);
      if (!this.#network) throw new KollatorError('offline', 'Call connect first.');
      const isWhole = share.phase === 'safe' || share.phase === 'complete';
      if (isWhole && purpose === 'request') return;
      if (this.#machine.call({ t: 'progress', infoHash }).ok) break;
      if (isWhole) throw new KollatorError('refused', 'Nobody may take this share from here any more.');
      if (share.phase === 'failed') throw new KollatorError(share.error?.code ?? 'broken', share.error?.message ?? 'It failed.');
      if (share.phase === 'paused') throw new KollatorError('refused', 'This share is paused.');
      if (share.phase === 'elsewhere') throw new KollatorError('refused', 'Another tab of this browser works on this share.');
      // It waits for its turn, or for its store.
      await share.news.next(signal);
    }
    const met = this.#meetings.met(infoHash, peer, signal);
    this.#network.input({ t: 'meet', infoHash, peer });
    return met;
  }

  /** Has these workers asked over HTTP, too, for a share that is being downloaded. */
  addWorkers(infoHash: string, workers: string[]): void {
    this.#need(infoHash);
    this.#network?.input({ t: 'addWorkers', infoHash, workers });
  }

  /** This browser's own public key. */
  publicKey(): Promise<string> {
    return publicKeyOf(this.#storage.keyPair);
  }

  async stats(): Promise<Stats> {
    const now = performance.now();
    const all = this.#shares.all();
    const sum = (of: (share: Share) => number): number => all.reduce((total, share) => total + of(share), 0);
    const { used, available } = await this.#storage.usage();
    return {
      peerId: this.#peerId,
      online: this.#isOnline,
      ...(this.#worker === undefined ? {} : { worker: this.#worker }),
      ...(this.#offline === undefined ? {} : { offline: this.#offline }),
      storage: this.#storage.kind,
      bytesUsed: used,
      ...(available === undefined ? {} : { bytesAvailable: available }),
      speedDown: sum((share) => share.down.speed(now)),
      speedUp: sum((share) => share.up.speed(now)),
      bytesDown: sum((share) => share.down.total),
      bytesUp: sum((share) => share.up.total),
      connections: this.#network ? this.#machine.call({ t: 'counters' }).ok.connections : 0,
    };
  }

  #need(infoHash: string): Share {
    const share = this.#shares.get(infoHash);
    if (!share) throw new KollatorError('not-found', 'There is no such share here.');
    return share;
  }

  /** The key that a link has wrapped to one person. A share that is here needs none: whoever sent it reads it, too. */
  async #unwrapped(infoHash: string, wrapped: string | null): Promise<string | undefined> {
    const known = this.#shares.get(infoHash);
    if (wrapped === null || (known && known.phase !== 'failed')) return undefined;
    return unwrapKey(this.#storage.keyPair, wrapped);
  }

  #stateOf(infoHash: string): ShareState | undefined {
    const share = this.#shares.get(infoHash);
    return share && this.#state(share);
  }

  #state(share: Share): ShareState {
    if (this.#network && share.phase === 'downloading') {
      const progress = this.#machine.call({ t: 'progress', infoHash: share.infoHash }).ok;
      if (progress) share.note(progress, performance.now());
      for (const { source, sourceKind } of this.#machine.call({ t: 'sources', infoHash: share.infoHash }).ok) {
        share.sources.meet(source, sourceKind);
      }
    }
    return share.state(this.#shares.connected, performance.now());
  }

  #announce(state: ShareState): void {
    this.#tell({ t: 'share', state });
    this.#watchers.tell(state, this.#shares.get(state.infoHash)?.error?.code);
    if (state.speedDown > 0 || state.speedUp > 0) this.#tellNetworkSoon();
  }

  #removed(infoHash: string): void {
    this.#announcer.forget(infoHash);
    this.#reader.forget(infoHash);
    this.#watchers.removed(infoHash);
    this.#tell({ t: 'removed', infoHash });
  }

  #tellNetworkSoon(): void {
    this.#networkTimer ??= setTimeout(() => {
      this.#networkTimer = undefined;
      void this.stats().then((stats) => this.#tell({ t: 'network', stats }));
    }, NETWORK_BETWEEN);
  }
}

/** How a share looks while it is being made. It has no info hash yet. */
function preparing(items: UploadItem[], { name, encrypt = true, to }: UploadChoices, done: number, total: number): ShareState {
  const first = items[0]?.path ?? items[0]?.file.name ?? '';
  const record = { infoHash: '', link: '', addedAt: Date.now(), seeding: true, bytesStored: 0, personal: to !== undefined };
  const share = new Share({ ...record, role: 'sent', phase: 'preparing', name: name ?? first.split('/')[0] ?? '' });
  share.isSealed = encrypt;
  share.bytesPrepared = done;
  share.bytesToPrepare = total;
  return share.state(new Connected(), performance.now());
}

function shareSettings({ concurrentDownloads, concurrentUploads, seedingTime }: Settings): ShareSettings {
  return { concurrentDownloads, concurrentUploads, seedingTime };
}

/** A time as the machine takes it. */
function wholeMilliseconds(time: number): number {
  return Math.min(Math.round(time), 2 ** 32 - 1);
}

function randomHex(bytes: number): string {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
