/**
 * Names and paths that may come from anywhere, checked by the rules of the core before a file is read or kept under
 * them: so that ten gigabytes are not hashed first.
 */

import { KollatorError } from './errors.ts';

/** Most bytes in a name. */
const MAX_NAME = 255;
/** Most components of a path below the share's name. */
export const MAX_DEPTH = 64;

const encoder = new TextEncoder();

/** What keeps `name` from being one path component that stays in its folder. */
export function fault(name: string): string | undefined {
  if (name === '') return 'it is empty';
  if (name === '.' || name === '..') return 'it names a folder relative to another';
  if (/[/\\]/.test(name)) return 'it contains a path separator';
  if (/\p{Cc}/u.test(name)) return 'it contains a control character';
  if (!name.isWellFormed()) return 'it is not Unicode';
  if (encoder.encode(name).length > MAX_NAME) return 'it is longer than 255 bytes';
  return undefined;
}

/** Throws unless a share may be called `name` and have files at `paths` below it; `code` is that of the error. */
export function checkPaths(name: string, paths: readonly (readonly string[])[], code: 'refused' | 'broken'): void {
  const files = new Set(paths.map((path) => path.join('/')));
  if (files.size < paths.length) throw new KollatorError(code, 'Two files of the share have the same name.');
  for (const path of paths) {
    if (path.length === 0 || path.length > MAX_DEPTH) {
      throw new KollatorError(code, `${shortened(path.join('/'))} is more than ${MAX_DEPTH} folders deep, or has no name.`);
    }
    for (const component of [name, ...path]) {
      const why = fault(component);
      if (why) throw new KollatorError(code, `${shortened(component)} is not a safe file name: ${why}.`);
    }
    for (let depth = 1; depth < path.length; depth += 1) {
      const folder = path.slice(0, depth).join('/');
      if (files.has(folder)) throw new KollatorError(code, `${shortened(folder)} is a file and a folder at once.`);
    }
  }
}

/** Orders texts by the bytes of their UTF-8. */
export function compareBytes(one: string, other: string): number {
  // UTF-8 orders as code points do; JavaScript's own comparison goes by halves of surrogate pairs.
  const [a, b] = [one[Symbol.iterator](), other[Symbol.iterator]()];
  for (;;) {
    const [x, y] = [a.next(), b.next()];
    if (x.done || y.done) return (x.done ? 0 : 1) - (y.done ? 0 : 1);
    const difference = x.value.codePointAt(0)! - y.value.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
}

/** Orders paths as a BitTorrent v2 file tree does: component by component. */
export function comparePaths(one: readonly string[], other: readonly string[]): number {
  for (let depth = 0; depth < Math.min(one.length, other.length); depth += 1) {
    const difference = compareBytes(one[depth]!, other[depth]!);
    if (difference !== 0) return difference;
  }
  return one.length - other.length;
}

/** `text` for an error message: quoted, at most 80 characters of it. */
export function shortened(text: string): string {
  return JSON.stringify([...text].slice(0, 80).join(''));
}
