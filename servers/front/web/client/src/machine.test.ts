/** The machine behind its boundary: the real module, driven by node. `build.sh machine` builds it. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';

import { KollatorError } from './errors.ts';
import type { Input, Output } from './machine-types.ts';
import { Machine } from './machine.ts';

const module = new WebAssembly.Module(readFileSync(new URL('../../dist-wasm/kollator_machine.wasm', import.meta.url)));
const BLOCK = 16 * 1024;
/** More than a message holds, so that pieces come in parts. */
const PIECE = 16 * BLOCK;

function load(): Promise<Machine> {
  return Machine.load(module);
}

/** Bytes that repeat nothing. */
function content(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 17 + (i >> 16)) & 0xff);
}

/** Fails unless both are the same bytes. Says where they differ: to show all of them would take all memory. */
function assertSame(got: Uint8Array | undefined, want: Uint8Array, what = 'the bytes'): void {
  assert.equal(got?.length, want.length, `the length of ${what}`);
  const at = want.findIndex((byte, i) => byte !== got?.[i]);
  assert.equal(at, -1, `${what} differ from byte ${at} on`);
}

/** The hash of each block, by node. */
function leaves(data: Uint8Array): Uint8Array {
  const hashes: Buffer[] = [];
  for (let at = 0; at < data.length; at += BLOCK) {
    hashes.push(createHash('sha256').update(data.subarray(at, at + BLOCK)).digest());
  }
  return Buffer.concat(hashes);
}

/** A share of one file, made with the machine's own functions. */
function makeShare(machine: Machine, name: string, data: Uint8Array): { infoHash: string; ko: Uint8Array } {
  const roots: Uint8Array[] = [];
  for (let at = 0; at < data.length; at += PIECE) {
    const piece = data.subarray(at, at + PIECE);
    const header = { t: 'pieceRoot', length: piece.length, pieceLength: PIECE, fileLength: data.length } as const;
    roots.push(machine.call(header, leaves(piece)).payload.slice());
  }
  const files = [{ path: [name], length: data.length }];
  const built = machine.call(
    { t: 'buildMetainfo', name, pieceLength: PIECE, fronts: ['http://front.example'], files },
    Buffer.concat(roots),
  );
  return { infoHash: built.ok.infoHash, ko: built.payload.slice() };
}

/** A browser without a browser: one machine, a disk in memory, and wires to the others. */
class Tab {
  readonly machine: Machine;
  readonly id: string;
  readonly outputs: Output[] = [];
  readonly events: Array<Extract<Output, { t: 'event' }>['event']> = [];
  readonly disk = new Map<string, Uint8Array>();
  /** The other side of each connection. */
  readonly wires = new Map<number, { tab: Tab; conn: number }>();

  constructor(machine: Machine, id: string) {
    this.machine = machine;
    this.id = id;
    machine.start({ id, seed: '18446744073709551615', fronts: 1, http: 'never' });
  }
}

/** A front, the wires and the clock: everything happens at once, in order. */
class World {
  readonly tabs: Tab[] = [];
  readonly queue: Array<() => void> = [];
  readonly swarm = new Set<string>();
  now = 0;

  async open(digit: string): Promise<Tab> {
    const tab = new Tab(await load(), digit.repeat(64));
    this.tabs.push(tab);
    this.obey(tab);
    return tab;
  }

  tell(tab: Tab, header: Input, payload: Uint8Array | string = ''): void {
    tab.machine.handle(this.now, header, payload);
    this.obey(tab);
  }

  /** Lets everything happen that follows, and time pass, until `done` says so. */
  run(done: () => boolean): void {
    for (let step = 0; step < 200_000; step += 1) {
      if (done()) return;
      const next = this.queue.shift();
      if (next) {
        next();
        continue;
      }
      const wakes = this.tabs.map((tab) => tab.machine.nextWake()).filter((at) => at !== undefined);
      assert.ok(wakes.length > 0, 'nothing will ever happen again');
      this.now = Math.max(this.now, Math.min(...wakes));
      assert.ok(this.now < 120_000, 'it takes too long');
      for (const tab of this.tabs) this.tell(tab, { t: 'wake' });
    }
    assert.fail('it never ends');
  }

  obey(tab: Tab): void {
    for (const { header, payload } of tab.machine.poll()) {
      // Before anything else is told to the machine: the payload is a view.
      const bytes = payload.slice();
      tab.outputs.push(header);
      this.queue.push(() => this.carryOut(tab, header, bytes));
    }
  }

  carryOut(tab: Tab, output: Output, bytes: Uint8Array): void {
    switch (output.t) {
      case 'linkConnect':
        return this.tell(tab, { t: 'linkUp' });
      case 'linkSend':
        return this.front(tab, JSON.parse(Buffer.from(bytes).toString()));
      case 'rtcOffer':
        return this.tell(tab, { t: 'rtcDescribed', conn: output.conn, sdp: `offer ${output.conn}` });
      case 'rtcAccept': {
        const other = this.tabs.find((each) => each !== tab);
        assert.ok(other);
        const conn = Number(output.sdp.split(' ')[1]);
        tab.wires.set(output.conn, { tab: other, conn });
        other.wires.set(conn, { tab, conn: output.conn });
        return this.tell(tab, { t: 'rtcDescribed', conn: output.conn, sdp: `answer ${output.conn}` });
      }
      case 'rtcSetAnswer': {
        const wire = tab.wires.get(output.conn);
        assert.ok(wire);
        this.tell(tab, { t: 'rtcOpen', conn: output.conn });
        return this.tell(wire.tab, { t: 'rtcOpen', conn: wire.conn });
      }
      case 'rtcSend': {
        const wire = tab.wires.get(output.conn);
        assert.ok(wire);
        this.tell(tab, { t: 'rtcSent', conn: output.conn, bytes: bytes.length });
        return this.tell(wire.tab, { t: 'rtcMessage', conn: wire.conn }, bytes);
      }
      case 'diskPrepare':
        tab.disk.set(output.infoHash, new Uint8Array(output.totalLength));
        return this.tell(tab, { t: 'diskPrepared', infoHash: output.infoHash, claims: [] });
      case 'diskRead':
      case 'diskReadLeaves': {
        const data = tab.disk.get(output.infoHash);
        assert.ok(data);
        const part = data.subarray(output.offset, output.offset + output.length);
        if (output.t === 'diskRead') return this.tell(tab, { t: 'diskRead', ticket: output.ticket }, part);
        return this.tell(tab, { t: 'diskLeaves', ticket: output.ticket }, leaves(part));
      }
      case 'diskHash':
        return this.tell(tab, { t: 'diskHashed', ticket: output.ticket }, leaves(bytes));
      case 'diskWrite':
        for (const place of output.places) tab.disk.get(output.infoHash)?.set(bytes, place.offset);
        return this.tell(tab, { t: 'diskWritten', ticket: output.ticket });
      case 'diskFinish':
        return this.tell(tab, { t: 'diskFinished', infoHash: output.infoHash });
      case 'event':
        tab.events.push(output.event);
        return;
      default:
    }
  }

  /** What a front would answer. */
  front(tab: Tab, message: { type: string; [field: string]: unknown }): void {
    const say = (to: Tab, answer: object) => this.tell(to, { t: 'linkMessage' }, JSON.stringify(answer));
    if (message.type === 'hello') {
      say(tab, { type: 'welcome', worker: null, ice_servers: [], fronts: [], heartbeat_seconds: 30 });
    } else if (message.type === 'ping') {
      say(tab, { type: 'pong' });
    } else if (message.type === 'announce') {
      this.swarm.add(tab.id);
      const peers = [...this.swarm].filter((id) => id !== tab.id);
      say(tab, { type: 'peers', info_hash: message.info_hash, peers });
    } else if (message.type === 'signal') {
      const to = this.tabs.find((each) => each.id === message.to);
      assert.ok(to);
      say(to, { type: 'signal', from: tab.id, session: message.session, body: message.body });
    }
  }
}

describe('the machine', () => {
  test('brings a share from one tab to another, every byte of it', async () => {
    const world = new World();
    const [sharer, getter] = [await world.open('a'), await world.open('b')];
    const data = content(5 * PIECE + 12_345);
    const { infoHash, ko } = makeShare(sharer.machine, 'film.webm', data);
    sharer.disk.set(infoHash, data);
    world.tell(sharer, { t: 'share', upload: false }, ko);
    world.run(() => sharer.events.some((event) => event.kind === 'online'));
    world.tell(getter, { t: 'download', infoHash, sequential: true });
    world.run(() => getter.events.some((event) => event.kind === 'completed' || event.kind === 'failed'));

    const last = getter.events.at(-1);
    assert.deepEqual(last, {
      kind: 'completed',
      infoHash,
      totals: { bytesTotal: data.length, from: { disk: 0, worker: 0, peer: data.length, http: 0 } },
    });
    assertSame(getter.disk.get(infoHash), data);
    const gained = getter.events.filter((event) => event.kind === 'gained');
    assert.equal(gained.reduce((sum, event) => sum + event.length, 0), data.length);
    assert.deepEqual(new Set(gained.map((event) => `${event.source} ${event.sourceKind}`)), new Set([`${sharer.id} peer`]));
    const metainfo = getter.events.find((event) => event.kind === 'metainfo');
    assert.deepEqual(metainfo?.files, [{ path: ['film.webm'], length: data.length }]);
    const progress = getter.machine.call({ t: 'progress', infoHash }).ok;
    assert.equal(progress?.bytesDone, data.length);
    assert.equal(sharer.machine.call({ t: 'counters' }).ok.bytesServed, data.length);
  });

  test('goes on with what the disk says is there', async () => {
    const world = new World();
    const [sharer, getter] = [await world.open('a'), await world.open('b')];
    const data = content(3 * PIECE);
    const { infoHash, ko } = makeShare(sharer.machine, 'notes', data);
    sharer.disk.set(infoHash, data);
    world.tell(sharer, { t: 'share', upload: false }, ko);
    const prepare = world.carryOut.bind(world);
    world.carryOut = (tab, output, bytes) => {
      if (tab !== getter || output.t !== 'diskPrepare') return prepare(tab, output, bytes);
      tab.disk.set(infoHash, data.slice());
      const there = data.subarray(PIECE, 2 * PIECE);
      const claims = [{ file: 0, offset: PIECE, count: PIECE / BLOCK }];
      return world.tell(tab, { t: 'diskPrepared', infoHash, claims }, leaves(there));
    };
    world.tell(getter, { t: 'download', infoHash, sequential: false }, ko);
    world.run(() => getter.events.some((event) => event.kind === 'completed'));
    const done = getter.events.find((event) => event.kind === 'completed');
    const found = getter.events.filter((event) => event.kind === 'gained' && event.source === null);
    assert.equal(found.reduce((sum, event) => sum + (event.kind === 'gained' ? event.length : 0), 0), PIECE);
    assert.deepEqual(done?.totals.from, { disk: PIECE, worker: 0, peer: 2 * PIECE, http: 0 });
  });

  test('gets first what the user waits for', async () => {
    const world = new World();
    const [sharer, getter] = [await world.open('a'), await world.open('b')];
    const data = content(12 * PIECE);
    const { infoHash, ko } = makeShare(sharer.machine, 'film.webm', data);
    sharer.disk.set(infoHash, data);
    world.tell(sharer, { t: 'share', upload: false }, ko);
    world.tell(getter, { t: 'download', infoHash, sequential: true });
    world.tell(getter, { t: 'seek', infoHash, file: 0, offset: 9 * PIECE + 5 });
    world.run(() => getter.events.some((event) => event.kind === 'gained'));
    const first = getter.events.find((event) => event.kind === 'gained');
    assert.deepEqual(first?.places, [{ file: 0, offset: 9 * PIECE }]);
    world.tell(getter, { t: 'seek', infoHash });
    world.run(() => getter.events.some((event) => event.kind === 'completed'));
    assertSame(getter.disk.get(infoHash), data);
  });

  test('keeps to its limits and says how its sources stand', async () => {
    const world = new World();
    const [sharer, getter] = [await world.open('a'), await world.open('b')];
    const data = content(12 * PIECE);
    const { infoHash, ko } = makeShare(sharer.machine, 'film.webm', data);
    sharer.disk.set(infoHash, data);
    world.tell(sharer, { t: 'share', upload: false }, ko);
    world.tell(getter, { t: 'setLimits', upload: 0, download: PIECE });
    world.tell(getter, { t: 'download', infoHash, sequential: true });
    world.run(() => getter.machine.call({ t: 'sources', infoHash }).ok.some((source) => source.bytes >= 4 * PIECE));
    const slowly = world.now;
    assert.ok(slowly > 2500, `${4 * PIECE} bytes at ${PIECE} a second took ${slowly} ms`);
    const [source] = getter.machine.call({ t: 'sources', infoHash }).ok;
    assert.deepEqual([source?.source, source?.sourceKind, source?.stalled], [sharer.id, 'peer', false]);
    world.tell(getter, { t: 'setLimits', upload: 0, download: 0 });
    world.run(() => getter.events.some((event) => event.kind === 'completed'));
    assert.ok(world.now - slowly < 1000, 'without a limit the rest comes at once');
    assertSame(getter.disk.get(infoHash), data);
  });

  test('refuses what makes no sense in words, and goes on', async () => {
    const world = new World();
    const tab = await world.open('a');
    const refused = (header: object, payload: Uint8Array | string, why: RegExp) => {
      const before = tab.machine.nextWake();
      assert.throws(() => tab.machine.handle(world.now, header as Input, payload), (error) => {
        assert.ok(error instanceof KollatorError);
        assert.equal(error.code, 'broken');
        assert.match(error.message, why);
        return true;
      });
      assert.equal(tab.machine.nextWake(), before);
      assert.deepEqual([...tab.machine.poll()], []);
    };
    refused({ t: 'dance' }, '', /dance/);
    refused({ t: 'wake', conn: 1 }, '', /conn/);
    refused({ t: 'wake' }, 'x', /no payload, got 1 bytes/);
    refused({ t: 'stop', infoHash: 'abc' }, '', /info hash must be 64 hexadecimal digits/);
    refused({ t: 'rtcSent', conn: 0, bytes: -1 }, '', /-1/);
    refused({ t: 'diskHashed', ticket: 5 }, '', /nothing with ticket 5/);
    refused({ t: 'share', upload: true }, 'no bencode', /no \.ko/);
    refused({ t: 'seek', infoHash: tab.id, file: 1 }, '', /both a file and an offset/);
    refused({ t: 'webData', id: 0 }, '', /payload/);
    assert.throws(() => tab.machine.handle(Number.NaN, { t: 'wake' }), /time must be/);
    assert.throws(() => tab.machine.start({ id: tab.id, seed: '1', fronts: 1 }), /started already/);
    world.run(() => tab.events.some((event) => event.kind === 'online'));
  });

  test('says what its settings lack', async () => {
    const machine = await load();
    const id = 'c'.repeat(64);
    assert.throws(() => machine.handle(0, { t: 'wake' }), /not started/);
    assert.throws(() => machine.start({ id: 'c', seed: '1', fronts: 1 }), /peer id/);
    assert.throws(() => machine.start({ id, seed: '18446744073709551616', fronts: 1 }), /18446744073709551616/);
    machine.start({ id, seed: '1', fronts: 1 });
    assert.deepEqual([...machine.poll()].map((said) => said.header), [{ t: 'linkConnect', front: 0 }]);
  });

  test('does not take one answer of the disk for another', async () => {
    const world = new World();
    const [sharer, getter] = [await world.open('a'), await world.open('b')];
    const data = content(PIECE);
    const { infoHash, ko } = makeShare(sharer.machine, 'one', data);
    sharer.disk.set(infoHash, data);
    world.tell(sharer, { t: 'share', upload: false }, ko);
    world.tell(getter, { t: 'download', infoHash, sequential: true });
    const carryOut = world.carryOut.bind(world);
    let hashed = 0;
    world.carryOut = (tab, output, bytes) => {
      if (output.t === 'diskHash') {
        hashed += 1;
        const { ticket } = output;
        const wrong = (header: Input, payload: Uint8Array, why: RegExp) =>
          assert.throws(() => tab.machine.handle(world.now, header, payload), why);
        wrong({ t: 'diskHashed', ticket }, new Uint8Array(32), /asked for 4 hashes, got 1/);
        wrong({ t: 'diskHashed', ticket }, new Uint8Array(33), /digests of 32 bytes, got 33/);
        wrong({ t: 'diskWritten', ticket }, new Uint8Array(), /is of diskHash/);
        wrong({ t: 'diskRead', ticket }, bytes, /is of diskHash/);
      }
      return carryOut(tab, output, bytes);
    };
    world.run(() => getter.events.some((event) => event.kind === 'completed'));
    assert.ok(hashed > 0);
    assertSame(getter.disk.get(infoHash), data);
  });

  test('hashes blocks as node and crypto.subtle do', async () => {
    const machine = await load();
    for (const length of [0, 1, 55, 56, 64, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 77]) {
      const data = content(length);
      const ours = Buffer.from(machine.call({ t: 'leaves' }, data).payload);
      assertSame(ours, leaves(data), `hashes of ${length} bytes`);
      if (length > 0 && length <= BLOCK) {
        const subtle = await crypto.subtle.digest('SHA-256', data as Uint8Array<ArrayBuffer>);
        assertSame(ours, new Uint8Array(subtle));
      }
    }
  });

  test('reads and writes links and .kos before it is started', async () => {
    const machine = await load();
    const { infoHash, ko } = makeShare(machine, 'größe.txt', content(100));
    const info = machine.call({ t: 'metainfoInfo' }, ko).ok;
    assert.deepEqual(info, {
      infoHash,
      name: 'größe.txt',
      pieceLength: PIECE,
      single: true,
      totalLength: 100,
      files: [{ path: ['größe.txt'], length: 100 }],
    });
    const fronts = ['https://front.example', 'https://other.example'];
    const { link } = machine.call({ t: 'shareLink', infoHash, name: 'größe.txt', fronts }).ok;
    assert.equal(
      link,
      `https://front.example/#${infoHash}&dn=gr%C3%B6%C3%9Fe.txt&front=https%3A%2F%2Fother.example`,
    );
    const parsed = { infoHash, name: 'größe.txt', fronts, key: null, to: null };
    assert.deepEqual(machine.call({ t: 'parseLink', text: link }).ok, parsed);
    const code = (run: () => unknown, expected: string) =>
      assert.throws(run, (error) => error instanceof KollatorError && error.code === expected);
    code(() => machine.call({ t: 'parseLink', text: 'nonsense' }), 'link');
    code(() => machine.call({ t: 'shareLink', infoHash, fronts: [] }), 'link');
    code(() => machine.call({ t: 'metainfoInfo' }, ko.subarray(1)), 'broken');
    code(() => machine.call({ t: 'pieceRoot', length: 5, pieceLength: 5, fileLength: 5 }), 'broken');
    code(() => machine.call({ t: 'progress', infoHash }), 'broken');
    const many = { t: 'buildMetainfo', name: 'x', pieceLength: PIECE, fronts: [] } as const;
    code(() => machine.call({ ...many, files: [{ path: ['x'], length: 9e15 }] }), 'broken');
    code(() => machine.call({ ...many, files: [{ path: ['..'], length: 0 }] }), 'broken');
  });

  test('seals what only who has the whole link can read', async () => {
    const machine = await load();
    const code = (run: () => unknown, expected: string) =>
      assert.throws(run, (error) => error instanceof KollatorError && error.code === expected);
    const key = Buffer.alloc(32, 7).toString('base64url');
    const files = [
      { path: ['b', 'größe.txt'], length: 40_000 },
      { path: ['a.txt'], length: 0 },
    ];
    const layout = machine.call({ t: 'sealLayout', key, name: 'holiday', files });
    const keys = layout.payload.slice();
    const sealedFiles = layout.ok.files;
    assert.deepEqual(sealedFiles.map((file) => [file.index, file.length, file.sealedLength]), [
      [1, 0, 0],
      [0, 40_000, 40_000 + 3 * 16],
    ]);
    assert.equal(keys.length, 64);

    const plain = content(40_000);
    const contentKey = Buffer.from(keys.subarray(32)).toString('base64url');
    const head = { t: 'sealBlocks', key: contentKey, length: plain.length } as const;
    const first = machine.call({ ...head, first: 0 }, plain.subarray(0, 2 * 16_368)).payload.slice();
    const last = machine.call({ ...head, first: 2 }, plain.subarray(2 * 16_368)).payload.slice();
    const sealed = Buffer.concat([first, last]);
    assert.equal(sealed.length, 40_048);
    const subtle = await crypto.subtle.importKey('raw', keys.slice(32), 'AES-GCM', false, ['decrypt']);
    const iv = Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1]);
    const opened = await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, subtle, last);
    assertSame(new Uint8Array(opened), plain.subarray(2 * 16_368));
    const open = { t: 'openBlocks', key: contentKey, length: plain.length } as const;
    assertSame(machine.call({ ...open, first: 0 }, sealed).payload, plain);
    code(() => machine.call({ ...open, first: 1 }, sealed), 'broken');
    code(() => machine.call({ ...head, first: 0 }, plain.subarray(1)), 'broken');
    code(() => machine.call({ ...head, first: 3 }, plain), 'broken');

    const roots = machine.call({ t: 'pieceRoot', length: 40_048, pieceLength: PIECE, fileLength: 40_048 }, leaves(sealed));
    const built = machine.call(
      {
        t: 'buildMetainfo',
        name: 'kollator-sealed-1',
        sealed: true,
        pieceLength: PIECE,
        fronts: [],
        files: sealedFiles.map((file) => ({ path: file.sealedPath, length: file.sealedLength })),
      },
      roots.payload.slice(),
    );
    const ko = built.payload.slice();
    const share = machine.call({ t: 'openMetainfo', key }, ko);
    assert.deepEqual(
      share.ok.files.map((file) => [file.path, file.length]),
      [[['a.txt'], 0], [['b', 'größe.txt'], 40_000]],
    );
    assert.equal(share.ok.name, 'holiday');
    assertSame(share.payload, keys);
    const other = Buffer.alloc(32, 8).toString('base64url');
    code(() => machine.call({ t: 'openMetainfo', key: other }, ko), 'key-wrong');
    code(() => machine.call({ t: 'openMetainfo', key: 'short' }, ko), 'key-wrong');
    code(() => machine.call({ t: 'openMetainfo', key }, makeShare(machine, 'plain', content(9)).ko), 'link');
    const plainly = { t: 'buildMetainfo', name: 'kollator-sealed-1', pieceLength: PIECE, fronts: [], files } as const;
    code(() => machine.call(plainly, new Uint8Array(32)), 'broken');
    code(() => machine.call({ ...plainly, name: 'x', sealed: true }, new Uint8Array(32)), 'broken');
  });

  test('puts keys into links, open or for one person', async () => {
    const machine = await load();
    const key = Buffer.alloc(32, 7).toString('base64url');
    const share = { t: 'shareLink', infoHash: 'e'.repeat(64), fronts: ['http://f.example'] } as const;
    const { link } = machine.call({ ...share, key }).ok;
    assert.equal(machine.call({ t: 'parseLink', text: link }).ok.key, key);

    const [mine, theirs] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
    const to = machine.call({ t: 'publicKey' }, mine).ok.key;
    const wrapped = machine.call({ t: 'wrapKey', key, to }, crypto.getRandomValues(new Uint8Array(32))).ok.key;
    const personal = machine.call({ ...share, to: wrapped }).ok.link;
    const parsed = machine.call({ t: 'parseLink', text: personal }).ok;
    assert.deepEqual([parsed.key, parsed.to], [null, wrapped]);
    assert.equal(machine.call({ t: 'unwrapKey', wrapped }, mine).ok.key, key);
    const code = (run: () => unknown, expected: string) =>
      assert.throws(run, (error) => error instanceof KollatorError && error.code === expected);
    code(() => machine.call({ t: 'unwrapKey', wrapped }, theirs), 'key-wrong');
    code(() => machine.call({ t: 'unwrapKey', wrapped }, new Uint8Array(31)), 'broken');
    code(() => machine.call({ ...share, key, to: wrapped }), 'link');
    code(() => machine.call({ t: 'parseLink', text: `${link}x` }), 'link');
  });

  test('takes headers and payloads larger than its memory was', async () => {
    const machine = await load();
    const files = Array.from({ length: 20_000 }, (_, i) => ({ path: ['folder', `file ${i}`], length: 1 }));
    const header = { t: 'buildMetainfo', name: 'many', pieceLength: PIECE, fronts: [], files } as const;
    const { payload } = machine.call(header, new Uint8Array(32 * files.length).fill(7));
    const ko = payload.slice();
    assert.equal(machine.call({ t: 'metainfoInfo' }, ko).ok.files.length, files.length);
    assert.throws(() => machine.call({ t: 'leaves' }, new Uint8Array(129 << 20)), /too long/);
  });

  test('survives whatever it is told', async () => {
    const world = new World();
    const tab = await world.open('a');
    const other = await load();
    const { infoHash, ko } = makeShare(other, 'junk', content(2 * PIECE + 1));
    let state = 1;
    const random = (below: number) => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const bytes = (length: number) => Uint8Array.from({ length }, () => random(256));
    const message = () => {
      const kind = ['welcome', 'assign', 'peers', 'signal', 'pong', 'error', 'workers'][random(7)];
      const sdp = { kind: ['offer', 'answer', 'bye', 'full'][random(4)], sdp: 'v=0', reason: 'x' };
      return JSON.stringify({
        type: kind, from: `${random(10)}`.repeat(64), session: random(3), body: sdp, info_hash: infoHash,
        peers: ['d'.repeat(64)], worker: null, ice_servers: [], fronts: [], heartbeat_seconds: random(40),
      });
    };
    const inputs: Array<() => [object, (Uint8Array | string)?]> = [
      () => [{ t: 'wake' }],
      () => [{ t: 'download', infoHash, sequential: random(2) === 0 }, random(2) === 0 ? ko : ''],
      () => [{ t: 'share', upload: random(2) === 0 }, ko],
      () => [{ t: 'addWorkers', infoHash, workers: ['http://w.example', 'ftp://x'].slice(random(2)) }],
      () => [{ t: 'stop', infoHash }],
      () => [{ t: 'setLimits', upload: random(1e6), download: random(1e6) }],
      () => [{ t: 'seek', infoHash, ...(random(2) === 0 ? {} : { file: random(2), offset: random(1e15) }) }],
      () => [{ t: ['linkUp', 'linkDown'][random(2)], ...(random(2) === 0 ? {} : { reason: 'x' }) }],
      () => [{ t: 'linkMessage' }, message()],
      () => [{ t: 'linkMessage' }, bytes(random(50))],
      () => [{ t: 'rtcDescribed', conn: random(4), sdp: 'v=0' }],
      () => [{ t: 'rtcOpen', conn: random(4) }],
      () => [{ t: 'rtcMessage', conn: random(4) }, bytes(random(100))],
      () => [{ t: 'rtcMessage', conn: random(4) }, Uint8Array.from([1, 0, 0, 1, 4])],
      () => [{ t: 'rtcSent', conn: random(4), bytes: random(2 ** 32) }],
      () => [{ t: 'rtcClosed', conn: random(4), reason: 'x' }],
      () => [{ t: 'diskPrepared', infoHash, claims: [{ file: random(2), offset: BLOCK * random(9), count: 1 }] }, bytes(32)],
      () => [{ t: 'diskRead', ticket: random(4) * 256 + random(256) }, bytes(32)],
      () => [{ t: 'diskHashed', ticket: random(4) * 256 + random(4) }, bytes(32)],
      () => [{ t: 'diskWritten', ticket: random(4) * 256 + random(4) }],
      () => [{ t: 'diskFinished', infoHash }],
      () => [{ t: 'webHead', id: random(5), status: [200, 206, 404, 503][random(4)], retryAfter: random(9) }],
      () => [{ t: 'webData', id: random(5) }, bytes(random(200))],
      () => [{ t: 'webEnd', id: random(5) }],
      () => [{ t: 'webFailed', id: random(5), reason: 'x' }],
      () => [{ t: `${random(1e9)}`, deep: [[[[]]]] }, bytes(5)],
    ];
    let refused = 0;
    for (let round = 0; round < 20_000; round += 1) {
      const [header, payload] = inputs[random(inputs.length)]!();
      world.now += random(400);
      try {
        tab.machine.handle(world.now, header as Input, payload);
      } catch (error) {
        assert.ok(error instanceof KollatorError);
        assert.doesNotMatch(error.message, /broke down/);
        refused += 1;
      }
      for (const { header: output } of tab.machine.poll()) assert.equal(typeof output.t, 'string');
    }
    assert.ok(refused > 1000 && refused < 19_000, `${refused}`);
    assert.equal(typeof tab.machine.call({ t: 'counters' }).ok.connections, 'number');
  });
});
