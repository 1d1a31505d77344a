/** Everything a page needs of `@kollator/client`. */

export * as chunks from './chunks.ts';
export { KollatorError } from './errors.ts';
export { Kollator, startEngine, type Listener } from './kollator.ts';
export { isPublicKey } from './person.ts';
export { bytesOf, streamOf } from './stream.ts';
export type { Part } from './engine/protocol.ts';
export type * from './types.ts';
