/**
 * Sharing to a person, as docs/protocol.md has it: the X25519 key pair of this browser profile, and what opens the keys of
 * shares that were wrapped to its public half. WebCrypto holds the secret half and gives it out to nobody, not even to
 * this page; what it opens must never be sent, logged or put into an error.
 */

import { fromBase64url, toBase64url } from './base64url.ts';
import { KollatorError } from './errors.ts';
import { derive, joined } from './seal.ts';

/** Bytes in a public key, and in the key of a share. */
const KEY = 32;
/** Bytes in a wrapped key: a public key made for this once, and the share's key, encrypted. */
const WRAPPED = KEY + KEY + 16;

const NOT_FOR_YOU = "This link is for somebody else: it was made for another person's key than that of this browser.";

/** A key pair whose secret half cannot be read. */
export type KeyPair = Pick<CryptoKeyPair, 'publicKey' | 'privateKey'>;

/** Where the key pair of a browser profile is kept. */
export interface KeyPairStore {
  /** The one that is kept, if there is one. */
  get(): Promise<KeyPair | undefined>;
  /** Keeps `fresh` unless one is kept already, by another tab perhaps; the one that is kept then. */
  keep(fresh: KeyPair): Promise<KeyPair>;
}

/** Whether `text` is written as public keys are: 43 characters of base64url. */
export function isPublicKey(text: string): boolean {
  return fromBase64url(text)?.length === KEY;
}

/** Throws a {@link KollatorError} `refused` unless `text` is written as public keys are. */
export function checkPublicKey(text: string): void {
  if (!isPublicKey(text)) {
    throw new KollatorError('refused', `A person's key has 43 letters, digits, - and _; what was given is none (${text.length} characters).`);
  }
}

/** This browser's public key, to be given to anybody. Its key pair is made if there is none. */
export async function publicKeyOf(store: KeyPairStore): Promise<string> {
  const { publicKey } = (await store.get()) ?? (await store.keep(await newKeyPair()));
  return toBase64url(await rawOf(publicKey));
}

/** The share's key that a link has wrapped to this browser's key pair. Throws a {@link KollatorError} `key-wrong` if it is for another. */
export async function unwrapKey(store: KeyPairStore, wrapped: string): Promise<string> {
  const pair = await store.get();
  const bytes = fromBase64url(wrapped);
  if (!pair || bytes?.length !== WRAPPED) throw new KollatorError('key-wrong', NOT_FOR_YOU);
  const [ephemeral, sealed] = [bytes.slice(0, KEY), bytes.slice(KEY)];
  const own = await rawOf(pair.publicKey);
  try {
    const other = await crypto.subtle.importKey('raw', ephemeral, { name: 'X25519' }, false, []);
    // Browsers refuse a secret of nothing but zeros, with which anybody could know it.
    const shared = await crypto.subtle.deriveBits({ name: 'X25519', public: other }, pair.privateKey, 8 * KEY);
    const secret = await crypto.subtle.importKey('raw', shared, 'HKDF', false, ['deriveBits']);
    const wrapping = await derive(secret, 'kollator to 1', joined(ephemeral, own));
    const cipher = await crypto.subtle.importKey('raw', wrapping, 'AES-GCM', false, ['decrypt']);
    // The wrapping key seals this and nothing else, so its nonce is always the same.
    return toBase64url(new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv: new Uint8Array(12) }, cipher, sealed)));
  } catch (error) {
    throw new KollatorError('key-wrong', NOT_FOR_YOU, { cause: error });
  }
}

/** `value` as a key pair, if it is one: it may be torn. */
export function asKeyPair(value: unknown): KeyPair | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { publicKey, privateKey } = value as Partial<Record<keyof KeyPair, unknown>>;
  return isKey(publicKey, 'public') && isKey(privateKey, 'private') ? { publicKey, privateKey } : undefined;
}

function isKey(value: unknown, type: KeyType): value is CryptoKey {
  return value instanceof CryptoKey && value.type === type && value.algorithm.name === 'X25519';
}

/** A new key pair, for {@link KeyPairStore.keep}. */
export async function newKeyPair(): Promise<KeyPair> {
  try {
    return (await crypto.subtle.generateKey({ name: 'X25519' }, false, ['deriveBits'])) as CryptoKeyPair;
  } catch (error) {
    throw new KollatorError('refused', 'This browser is too old for a key of its own: it has no X25519.', { cause: error });
  }
}

async function rawOf(key: CryptoKey): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.exportKey('raw', key));
}
