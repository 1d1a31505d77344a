/**
 * A network of the imagination with the shape of `Kollator`, for looking at each state of the page: never part of
 * what is shipped. `?scene=` in the page's address says where its shares come to rest; without it they run through.
 */

import type { ChunkMap, DownloadOptions, KollatorEvents, KollatorOptions, Phase, ShareState, Source, Stats, UploadItem, UploadOptions } from '../../client/src/types.ts';
import type { Network } from '../src/lib/network.ts';

export { isPublicKey } from '../../client/src/person.ts';
export type * from '../../client/src/types.ts';

/** An error with a name, as the library throws. */
class ImaginedError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

const HASHES = ['7d0c', '51ab', 'e3f9', '1209', 'aa64'].map((start) => (start + '9f2c71d8e05b46a3').padEnd(64, 'c04e8b1f').slice(0, 64));
const KEY = 'pT4mWq0s9xLr2vBn7cYkE6hJ1dGfUaZo3iSb5NtQwXM';
const PUBLIC_KEY = '3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08';
const WRAPPED = `${PUBLIC_KEY}${KEY}q0s9xLr2vBn7cYkE6hJ1d`;
const PIECES = 640;

function share(changes: Partial<ShareState> & { infoHash: string; name: string }): ShareState {
  const files = changes.files ?? [{ index: 0, path: changes.name, length: 214_300_000, bytesDone: 0 }];
  const bytesTotal = files.reduce((sum, file) => sum + file.length, 0);
  return {
    role: 'sent', phase: 'uploading', encrypted: true, personal: false, files, bytesTotal, bytesPrepared: bytesTotal, bytesStored: 0, bytesDone: 0,
    from: { disk: 0, worker: 0, peer: 0, http: 0 }, bytesServed: 0, speedDown: 0, speedUp: 0, sources: [], seeding: true,
    addedAt: Date.now() - 5 * 60_000,
    link: `${location.origin}/#${changes.infoHash}&dn=${encodeURIComponent(changes.name)}&${changes.personal ? `to=${WRAPPED}` : `k=${KEY}`}`,
    ...changes,
  };
}

const HOLIDAY = ['beach/IMG_2041.jpg', 'beach/IMG_2042.jpg', 'concert.webm', 'harbour at night.flac', 'notes für später.txt', 'plans.zip'].map(
  (path, index) => ({ index, path, length: [8_400_000, 7_900_000, 1_460_000_000, 61_000_000, 18_000, 1_148_000_000][index] ?? 0, bytesDone: 0 }),
);

function sources(part: number): Source[] {
  const bytes = (of: number): number => Math.round(of * part * 2_685_000_000);
  return [
    { index: 2, name: 'worker-a', kind: 'worker', connected: true, bytes: bytes(0.22), speed: 2_100_000 },
    { index: 3, name: '9fe2a1', kind: 'peer', connected: true, bytes: bytes(0.34), speed: 6_800_000 },
    { index: 4, name: '04bb7c', kind: 'peer', connected: true, bytes: bytes(0.2), speed: 3_900_000 },
    { index: 5, name: 'c77e10', kind: 'peer', connected: false, bytes: bytes(0.11), speed: 0 },
    { index: 6, name: 'https://worker-b.example', kind: 'http', connected: true, bytes: bytes(0.05), speed: 400_000 },
    { index: 7, name: 'e1d3aa', kind: 'peer', connected: false, bytes: 0, speed: 0, offence: 'sent a block that does not match its hash' },
  ];
}

function received(part: number, phase: Phase): ShareState {
  const total = 2_685_318_000;
  const done = Math.round(total * part);
  const from = sources(part);
  const sum = (kind: string): number => from.filter((source) => source.kind === kind).reduce((all, source) => all + source.bytes, 0);
  const moving = phase === 'downloading';
  return share({
    infoHash: HASHES[0] ?? '', name: 'Summer 2026', role: 'received', phase, bytesDone: done,
    files: HOLIDAY.map((file, index) => ({ ...file, bytesDone: Math.round(file.length * Math.min(1, part * (index === 0 ? 2 : index === 2 ? 1.1 : 1))) })),
    from: { disk: done - sum('worker') - sum('peer') - sum('http'), worker: sum('worker'), peer: sum('peer'), http: sum('http') },
    sources: from.map((source) => (moving ? source : { ...source, speed: 0, connected: source.connected && phase === 'complete' })),
    speedDown: moving ? 13_200_000 : 0, speedUp: moving ? 1_800_000 : 0, bytesServed: Math.round(done * 0.3),
    ...(moving ? { remaining: ((total - done) / 13_200_000) * 1000 } : {}),
  });
}

function mapOf(part: number): ChunkMap {
  const pieces = new Uint8Array(PIECES);
  const filled = new Uint8Array(PIECES);
  const given = [[1, 0.08], [2, 0.22], [3, 0.34], [4, 0.2], [5, 0.11], [6, 0.05]] as const;
  let random = 7;
  for (let piece = 0; piece < PIECES; piece += 1) {
    random = (random * 48_271) % 2_147_483_647;
    const run = Math.floor(piece / 7);
    const luck = ((random % 1000) / 1000) * 0.45 + (((run * 7919 + 13) % 97) / 97) * 0.55;
    if (luck > part && part < 1) {
      if (luck < part + 0.03) {
        pieces[piece] = 3;
        filled[piece] = 120;
      }
      continue;
    }
    let left = ((random >> 7) % 1000) / 1000;
    if (run % 3 !== 0) left = ((run * 271) % 100) / 100;
    pieces[piece] = given.find(([, of]) => (left -= of) < 0)?.[0] ?? 6;
    filled[piece] = 255;
  }
  return { pieces, filled };
}

/** Stands in for the library's class. */
export class Kollator implements Network {
  #shares = new Map<string, ShareState>();
  #listeners = new Map<string, Set<(detail: never) => void>>();
  #scene = new URLSearchParams(location.search).get('scene') ?? '';
  #online = true;

  constructor(_options: KollatorOptions = {}) {
    this.#online = this.#scene !== 'offline';
  }

  async connect(): Promise<void> {
    if (this.#scene === 'files') {
      const total = 214_300_000;
      for (const each of [
        received(1, 'complete'),
        share({ infoHash: HASHES[1] ?? '', name: 'Quarterly report.pdf', phase: 'safe', bytesStored: total, bytesServed: 1_730_000_000, addedAt: Date.now() - 3 * 3_600_000 }),
        share({ infoHash: HASHES[2] ?? '', name: 'Proberaum-Mitschnitt vom 14. November, roh und ungekürzt.flac', bytesStored: 81_000_000, speedUp: 4_100_000 }),
        share({ infoHash: HASHES[3] ?? '', name: '写真.zip', role: 'received', phase: 'paused', bytesDone: 96_000_000, encrypted: false, seeding: false, addedAt: Date.now() - 50 * 3_600_000 }),
      ]) this.#shares.set(each.infoHash, each);
    }
    if (['uploading', 'safe'].includes(this.#scene)) this.#put(this.#sent(this.#scene as Phase, 0.38));
    if (this.#scene === 'for-one') this.#put(this.#sent('safe', 1, true));
    this.#tell('network', await this.getStats());
  }

  #sent(phase: Phase, part: number, personal = false): ShareState {
    const stored = phase === 'safe' ? 214_300_000 : Math.round(214_300_000 * part);
    return share({ infoHash: HASHES[1] ?? '', name: 'Harbour concert.webm', phase, personal, bytesStored: stored, speedUp: phase === 'safe' ? 0 : 4_700_000, bytesServed: Math.round(stored * 1.1) });
  }

  async upload(items: UploadItem[], options: UploadOptions = {}): Promise<ShareState> {
    const total = items.reduce((sum, { file }) => sum + file.size, 0);
    const files = items.map(({ file, path }, index) => ({ index, path: path ?? file.name, length: file.size, bytesDone: file.size }));
    const name = items[0]?.path?.split('/')[0] ?? items[0]?.file.name ?? 'share';
    const state = (phase: Phase, changes: Partial<ShareState>): ShareState =>
      share({ infoHash: phase === 'preparing' ? '' : (HASHES[1] ?? ''), name, files, phase, encrypted: options.encrypt ?? true, personal: options.to !== undefined, ...(phase === 'preparing' ? { link: '' } : {}), ...changes });
    for (let step = 0; step <= 20; step += 1) {
      options.onProgress?.(state('preparing', { bytesPrepared: (total * step) / 20 }));
      if (this.#scene === 'preparing' && step === 13) return await new Promise(() => {});
      if (this.#scene === 'full' && step === 9) throw new ImaginedError('storage-full', 'The browser grants 1.2 GB to this page, and 1.1 GB are in use.');
      await pause(90);
      options.signal?.throwIfAborted();
    }
    void this.#run((step) => {
      const next = state(step === 40 ? 'safe' : 'uploading', { bytesStored: (total * step) / 40, speedUp: step === 40 ? 0 : 4_700_000 });
      options.onProgress?.(next);
      return next;
    });
    return state('uploading', {});
  }

  async download(link: string, _options: DownloadOptions = {}): Promise<ShareState> {
    await pause(60);
    const infoHash = /#([0-9a-f]{64})/.exec(link)?.[1] ?? '';
    const wrong: Record<string, string> = {
      'key-missing': 'this share is encrypted: its link needs the field k',
      'key-wrong': 'the name of file 0 does not open with this key',
      'not-found': 'no front, worker or peer has this share',
      link: 'the link has an unknown field "q"',
      'storage-full': 'the share has 2.7 GB, and the browser grants 1.2 GB',
    };
    const message = wrong[this.#scene];
    if (message !== undefined) throw new ImaginedError(this.#scene, message);
    if (this.#scene === 'somebody-else') throw new ImaginedError('key-wrong', 'This link is for somebody else: it was made for another person\'s key than that of this browser.');
    if (this.#scene === 'finding') return this.#put({ ...received(0, 'finding'), infoHash, files: [], bytesTotal: 0, name: infoHash.slice(0, 8), sources: [], link });
    if (this.#scene === 'elsewhere') return this.#put({ ...received(0.3, 'elsewhere'), infoHash, link });
    if (this.#scene === 'receiving') return this.#put({ ...received(0.57, 'downloading'), infoHash, link });
    if (this.#scene === 'complete') return this.#put({ ...received(1, 'complete'), infoHash, link });
    if (this.#scene === 'for-me') return this.#put({ ...received(1, 'complete'), infoHash, link, personal: true });
    void this.#run((step) => ({ ...received(step / 40, step === 40 ? 'complete' : 'downloading'), infoHash, link }));
    return this.#put({ ...received(0, 'downloading'), infoHash, link });
  }

  async #run(at: (step: number) => ShareState): Promise<void> {
    for (let step = 1; step <= 40; step += 1) {
      await pause(400);
      this.#put(at(step));
    }
  }

  async pause(infoHash: string): Promise<void> {
    this.#change(infoHash, { phase: 'paused', speedDown: 0, speedUp: 0 });
  }

  async resume(infoHash: string): Promise<void> {
    this.#change(infoHash, { phase: 'downloading' });
  }

  async setSeeding(infoHash: string, seeding: boolean): Promise<void> {
    this.#change(infoHash, { seeding });
  }

  async delete(infoHash: string): Promise<void> {
    this.#shares.delete(infoHash);
    this.#tell('removed', { infoHash });
  }

  async setOptions(): Promise<void> {}

  async publicKey(): Promise<string> {
    return PUBLIC_KEY;
  }

  async getStats(): Promise<Stats> {
    return {
      peerId: '4f1a', online: this.#online, ...(this.#online ? { worker: 'worker-a' } : { offline: 'The front does not answer.' }), storage: 'opfs',
      bytesUsed: 3_100_000_000, bytesAvailable: 58_000_000_000, speedDown: 0, speedUp: 0, bytesDown: 2_700_000_000, bytesUp: 1_900_000_000, connections: 4,
    };
  }

  shares(): ShareState[] {
    return [...this.#shares.values()];
  }

  async chunkMap(infoHash: string): Promise<ChunkMap> {
    const of = this.#shares.get(infoHash);
    return mapOf(of === undefined || of.bytesTotal === 0 ? 0 : of.bytesDone / of.bytesTotal);
  }

  fileUrl(infoHash: string, file: number, options: { download?: boolean } = {}): string {
    return `/_share/${infoHash}/${file}${options.download === true ? '?download' : ''}`;
  }

  async play(): Promise<void> {}

  stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return new Blob(['imagined']).stream();
  }

  on<Kind extends keyof KollatorEvents>(event: Kind, listener: (detail: KollatorEvents[Kind]) => void): () => void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener as (detail: never) => void));
    return () => void listeners.delete(listener as (detail: never) => void);
  }

  #tell<Kind extends keyof KollatorEvents>(event: Kind, detail: KollatorEvents[Kind]): void {
    for (const listener of this.#listeners.get(event) ?? []) listener(detail as never);
  }

  #put(state: ShareState): ShareState {
    this.#shares.set(state.infoHash, state);
    this.#tell('share', state);
    return state;
  }

  #change(infoHash: string, changes: Partial<ShareState>): void {
    const before = this.#shares.get(infoHash);
    if (before !== undefined) this.#put({ ...before, ...changes });
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
