/** Everything a page needs of `@kollator/client`. */

export { KollatorError } from './errors.ts';
export { Kollator, startEngine, type Listener } from './kollator.ts';
export type { Part } from './engine/protocol.ts';
export type * from './types.ts';
