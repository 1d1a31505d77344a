/** Keys of persons, held against the machine, which is the implementation that the terminal has. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fromBase64url, toBase64url } from './base64url.ts';
import { Machine } from './machine.ts';
import { type KeyPair, type KeyPairStore, asKeyPair, checkPublicKey, isPublicKey, newKeyPair, publicKeyOf, unwrapKey } from './person.ts';
import { newKey } from './seal.ts';

const machine = await Machine.load(readFileSync(new URL('../../dist-wasm/kollator_machine.wasm', import.meta.url)));
/** A secret key of RFC 7748, 6.1: that of Bob. */
const BOB = '5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb';

class Store implements KeyPairStore {
  pair: KeyPair | undefined;

  constructor(pair?: KeyPair) {
    this.pair = pair;
  }

  async get(): Promise<KeyPair | undefined> {
    return this.pair;
  }

  async keep(fresh: KeyPair): Promise<KeyPair> {
    return (this.pair ??= fresh);
  }
}

function bytes(hex: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(hex, 'hex'));
}

/** The key pair of a secret, which WebCrypto takes in the wrapping of PKCS #8; its public half by the machine. */
async function pairOf(secret: Uint8Array): Promise<Store> {
  const wrapping = Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), secret]);
  const privateKey = await crypto.subtle.importKey('pkcs8', wrapping, { name: 'X25519' }, false, ['deriveBits']);
  const raw = fromBase64url(machine.call({ t: 'publicKey' }, secret).ok.key)!;
  return new Store({ privateKey, publicKey: await crypto.subtle.importKey('raw', raw, { name: 'X25519' }, true, []) });
}

function wrap(key: string, to: string, ephemeral: Uint8Array = crypto.getRandomValues(new Uint8Array(32))): string {
  return machine.call({ t: 'wrapKey', key, to }, ephemeral).ok.key;
}

test('what the machine wraps to a browser that browser opens, and no other', async () => {
  const [mine, theirs] = [new Store(), new Store()];
  const [to, other, key] = [await publicKeyOf(mine), await publicKeyOf(theirs), newKey()];
  assert.notEqual(to, other);
  assert.equal(await publicKeyOf(mine), to, 'it is made once');
  const wrapped = wrap(key, to);
  assert.equal(wrapped.length, 107);
  assert.equal(await unwrapKey(mine, wrapped), key);
  for (const store of [theirs, new Store()]) {
    await assert.rejects(unwrapKey(store, wrapped), { code: 'key-wrong', message: /for somebody else/ });
  }
});

test('a secret has one public key and opens the same, here and in the machine', async () => {
  for (const secret of [bytes(BOB), crypto.getRandomValues(new Uint8Array(32))]) {
    const store = await pairOf(secret);
    const to = await publicKeyOf(store);
    assert.equal(to, machine.call({ t: 'publicKey' }, secret).ok.key);
    const key = newKey();
    const wrapped = wrap(key, to);
    assert.equal(await unwrapKey(store, wrapped), key);
    assert.equal(machine.call({ t: 'unwrapKey', wrapped }, secret).ok.key, key);
  }
});

test('a wrapped key that was changed anywhere opens no more', async () => {
  const store = new Store();
  const wrapped = fromBase64url(wrap(newKey(), await publicKeyOf(store)))!;
  const changed = [0, 31, 32, 63, 64, 79].map((at) => wrapped.map((byte, index) => (index === at ? byte ^ 1 : byte)));
  // Public keys of low order: with them anybody could know the secret.
  const [zero, one] = [wrapped.slice().fill(0, 0, 32), wrapped.slice().fill(0, 0, 32)];
  one[0] = 1;
  for (const text of [...changed, zero, one, wrapped.slice(1)].map(toBase64url)) {
    await assert.rejects(unwrapKey(store, text), { code: 'key-wrong' });
  }
  await assert.rejects(unwrapKey(store, 'no base64url!'), { code: 'key-wrong' });
});

test('what is no public key is told from one', async () => {
  assert.equal(isPublicKey(await publicKeyOf(new Store())), true);
  const others = ['', 'kollator', newKey().slice(1), `${newKey()}A`, ` ${newKey()}`, `${newKey().slice(1)}+`, `${'A'.repeat(42)}B`, 'http://f/#a'];
  for (const text of others) {
    assert.equal(isPublicKey(text), false, text);
    assert.throws(() => checkPublicKey(text), { code: 'refused', message: /43/ });
  }
});

test('what is kept and is no key pair counts as none', async () => {
  const pair = await newKeyPair();
  assert.ok(asKeyPair(pair));
  const hmac = await crypto.subtle.generateKey({ name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  for (const wrong of [undefined, null, 'x', {}, { ...pair, privateKey: pair.publicKey }, { ...pair, privateKey: hmac }, { publicKey: pair.publicKey }]) {
    assert.equal(asKeyPair(wrong), undefined);
  }
});
