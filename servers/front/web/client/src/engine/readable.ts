/** What a `.ko` says to its reader: the names and lengths of a plain share, or those of an encrypted one with its key. */

import { KollatorError } from '../errors.ts';
import type { MetainfoInfo } from '../machine-types.ts';
import type { Machine } from '../machine.ts';
import { SEALED_NAME } from '../seal.ts';
import type { ReadableInfo } from './share.ts';

/** Opens the `.ko` of an encrypted share with its key. Throws a {@link KollatorError} `key-wrong`. */
export type OpenMetainfo = (key: string, ko: Uint8Array) => ReadableInfo;

/** Throws a {@link KollatorError} `key-missing` or `key-wrong` if it cannot be read. */
export function readableOf(info: MetainfoInfo, ko: Uint8Array, key: string | undefined, open: OpenMetainfo): ReadableInfo {
  if (info.name !== SEALED_NAME) {
    return { name: info.name, files: info.files.map(({ path, length }) => ({ path: path.join('/'), length })) };
  }
  if (key === undefined) {
    throw new KollatorError(
      'key-missing',
      'This share is encrypted, and the link lacks its key. Ask for the whole link, with everything after the #.',
    );
  }
  return open(key, ko);
}

/** Opens the `.ko` of an encrypted share by the machine's pure function. */
export function openMetainfo(machine: Pick<Machine, 'call'>, key: string, ko: Uint8Array): ReadableInfo {
  const { name, files } = machine.call({ t: 'openMetainfo', key }, ko).ok;
  return { name, files: files.map(({ path, length }) => ({ path: path.join('/'), length })) };
}
