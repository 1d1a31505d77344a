/**
 * What every back end must do, as checks that run wherever the back end does: in Node's test runner, or in a browser's
 * worker. For tests only.
 */

import { KollatorError } from '../errors.ts';
import { type KeyPair, newKeyPair } from '../person.ts';
import { BLOCK, ElsewhereError, temporaryName, type ShareRecord, type Storage } from './storage.ts';

/** A check; it throws if the storage is not as it must be. */
export type Check = (storage: Storage, reopened: () => Promise<Storage>) => Promise<void>;

/** A record of a share for tests. */
export function record(infoHash: string, more: Partial<ShareRecord> = {}): ShareRecord {
  return {
    infoHash,
    role: 'received',
    phase: 'downloading',
    name: 'Grüße.txt',
    link: `https://front.example/#${infoHash}`,
    addedAt: 1,
    seeding: true,
    bytesStored: 0,
    ...more,
  };
}

/** An info hash that nobody else uses. */
export function someHash(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(32)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Bytes that tell their place: no two blocks are the same. */
export function pattern(offset: number, length: number): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(length);
  for (let at = 0; at < length; at += 1) {
    const place = offset + at;
    data[at] = (place ^ (place >> 8) ^ ((place >> 14) * 37)) & 0xff;
  }
  return data;
}

function equal(got: unknown, wanted: unknown, what: string): void {
  if (JSON.stringify(got) !== JSON.stringify(wanted)) {
    throw new Error(`${what}: got ${JSON.stringify(got)}, not ${JSON.stringify(wanted)}`);
  }
}

function same(got: Uint8Array, wanted: Uint8Array, what: string): void {
  equal(got.length, wanted.length, `${what}: length`);
  const at = got.findIndex((byte, index) => byte !== wanted[index]);
  if (at >= 0) throw new Error(`${what}: differs at ${at}`);
}

async function refused(work: Promise<unknown>, what: string): Promise<KollatorError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof KollatorError)) throw new Error(`${what}: not refused, but ${String(error)}`);
  return error;
}

/** The checks by name. Each has a storage that may hold what the others left. */
export const contract: Record<string, Check> = {
  'blocks come back, and only those are there': async (storage) => {
    const bytes = 40 * BLOCK + 100;
    const store = await storage.open(someHash(), bytes);
    equal(store.present(), [], 'at first');
    await Promise.all([
      store.write(40 * BLOCK, pattern(40 * BLOCK, 100)),
      store.write(0, pattern(0, BLOCK)),
      store.write(15 * BLOCK, pattern(15 * BLOCK, 3 * BLOCK)),
    ]);
    equal(store.present(), [[0, BLOCK], [15 * BLOCK, 3 * BLOCK], [40 * BLOCK, 100]], 'blocks there');
    same(await store.read(15 * BLOCK + 7, 2 * BLOCK), pattern(15 * BLOCK + 7, 2 * BLOCK), 'across a row');
    same(await store.read(40 * BLOCK, 100), pattern(40 * BLOCK, 100), 'the last');
    equal(store.available(15 * BLOCK + 5, 9 * BLOCK), 3 * BLOCK - 5, 'bytes without a gap');
    equal(store.available(BLOCK, 10), 0, 'bytes in a gap');
    await store.close();
  },

  'what was kept is there the next time': async (storage, reopened) => {
    const name = someHash();
    await storage.putRecord(record(name));
    const store = await storage.open(name, 20 * BLOCK);
    void store.write(3 * BLOCK, pattern(3 * BLOCK, 2 * BLOCK));
    await store.close();
    await refused(store.read(3 * BLOCK, 1), 'reading a closed share');
    const again = await (await reopened()).open(name, 20 * BLOCK);
    equal(again.present(), [[3 * BLOCK, 2 * BLOCK]], 'blocks there');
    same(await again.read(3 * BLOCK, 2 * BLOCK), pattern(3 * BLOCK, 2 * BLOCK), 'bytes');
    await again.close();
    const other = await storage.open(name, 21 * BLOCK);
    equal(other.present(), [], 'at another length');
    await other.close();
  },

  'a block put beside another leaves it as it was': async (storage) => {
    const store = await storage.open(someHash(), 64 * BLOCK);
    const order = Array.from({ length: 64 }, (_, index) => (index * 37) % 64);
    for (const half of [order.slice(0, 32), order.slice(32)]) {
      await Promise.all(half.map((block) => store.write(block * BLOCK, pattern(block * BLOCK, BLOCK))));
    }
    equal(store.present(), [[0, 64 * BLOCK]], 'blocks there');
    same(await store.read(0, 64 * BLOCK), pattern(0, 64 * BLOCK), 'bytes');
    await store.close();
  },

  'a short file and its neighbour are both kept': async (storage) => {
    const store = await storage.open(someHash(), 2 * BLOCK + 5);
    await Promise.all([0, 1, 2].map((block) => store.write(block * BLOCK, pattern(block * BLOCK, 5))));
    for (const block of [0, 1, 2]) same(await store.read(block * BLOCK, 5), pattern(block * BLOCK, 5), `file ${block}`);
    await store.close();
  },

  'nonsense is refused and changes nothing': async (storage) => {
    await refused(storage.open('../etc', 1), 'a path as a name');
    await refused(storage.open(someHash(), -1), 'a negative length');
    const store = await storage.open(someHash(), 3 * BLOCK);
    await refused(store.write(5, pattern(5, BLOCK)), 'half a block');
    await refused(store.write(2 * BLOCK, pattern(0, BLOCK + 1)), 'more than there is');
    await refused(store.read(0, BLOCK), 'reading what is not there');
    await refused(store.read(3 * BLOCK, 1), 'reading beyond the end');
    equal(store.present(), [], 'afterwards');
    await store.close();
  },

  'one holder at a time': async (storage) => {
    const name = someHash();
    const store = await storage.open(name, BLOCK);
    const error = await refused(storage.open(name, BLOCK), 'opening it twice');
    if (!(error instanceof ElsewhereError)) throw new Error(`not said that it is elsewhere: ${error.message}`);
    let free = false;
    const freed = error.freed().then(() => (free = true));
    await new Promise((resolve) => setTimeout(resolve, 20));
    equal(free, false, 'free while open');
    await store.close();
    await freed;
    await (await storage.open(name, BLOCK)).close();
  },

  'a new share gets its info hash': async (storage) => {
    const temporary = temporaryName();
    const name = someHash();
    const old = await storage.open(name, 2 * BLOCK);
    await old.write(BLOCK, pattern(0, BLOCK));
    await old.close();
    const store = await storage.open(temporary, 2 * BLOCK);
    await refused(storage.rename(temporary, name), 'renaming an open share');
    await store.write(0, pattern(0, BLOCK));
    await store.close();
    await storage.rename(temporary, name);
    const renamed = await storage.open(name, 2 * BLOCK);
    equal(renamed.present(), [[0, BLOCK]], 'blocks there');
    same(await renamed.read(0, BLOCK), pattern(0, BLOCK), 'bytes');
    await renamed.close();
    await refused(storage.rename(temporary, name), 'renaming what is gone');
  },

  'listing removes what belongs to no share, and nothing else': async (storage) => {
    const [kept, left, open] = [someHash(), someHash(), temporaryName()];
    await storage.putRecord(record(kept, { ko: Uint8Array.of(1, 2, 3), key: 'k' }));
    for (const name of [kept, left]) {
      const store = await storage.open(name, BLOCK);
      await store.write(0, pattern(0, BLOCK));
      await store.close();
    }
    const working = await storage.open(open, BLOCK);
    const listed = (await storage.list()).find((one) => one.infoHash === kept);
    equal({ ...listed, ko: [...(listed?.ko ?? [])] }, { ...record(kept), ko: [1, 2, 3], key: 'k' }, 'record');
    await working.write(0, pattern(0, BLOCK));
    same(await working.read(0, BLOCK), pattern(0, BLOCK), 'the share being made');
    await working.close();
    for (const [name, there] of [[kept, [[0, BLOCK]]], [left, []]] as const) {
      const store = await storage.open(name, BLOCK);
      equal(store.present(), there, name === kept ? 'of the recorded share' : 'of the other');
      await store.close();
    }
  },

  'a deleted share is gone, open or not': async (storage) => {
    const name = someHash();
    await storage.putRecord(record(name));
    const store = await storage.open(name, BLOCK);
    await store.write(0, pattern(0, BLOCK));
    await storage.delete(name);
    equal((await storage.list()).some((one) => one.infoHash === name), false, 'listed');
    const again = await storage.open(name, BLOCK);
    equal(again.present(), [], 'blocks there');
    await again.close();
    await storage.delete(someHash());
  },

  'the first key pair stays, whoever else makes one, and does its work the next time': async (storage, reopened) => {
    const kept = await Promise.all([newKeyPair(), newKeyPair()].map(async (fresh) => storage.keyPair.keep(await fresh)));
    const later = (await reopened()).keyPair;
    const pairs = [...kept, await later.keep(await newKeyPair()), await later.get()];
    const [first, ...others] = await Promise.all(pairs.map((pair) => publicBytes(pair)));
    for (const other of others) same(other, first!, 'the public key');
    const [own, partner] = [pairs.at(-1)!, await newKeyPair()];
    same(await agreed(own, partner), await agreed(partner, own), 'what the two agree on');
    const secret = await crypto.subtle.exportKey('pkcs8', own.privateKey).catch(() => undefined);
    equal(secret, undefined, 'the secret half');
  },
};

async function publicBytes(pair: KeyPair | undefined): Promise<Uint8Array> {
  if (!pair) throw new Error('there is no key pair');
  return new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
}

async function agreed(one: KeyPair, other: KeyPair): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.deriveBits({ name: 'X25519', public: other.publicKey }, one.privateKey, 256));
}
