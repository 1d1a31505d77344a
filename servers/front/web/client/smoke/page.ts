/** A page with nothing but the library in it, for a test to drive. */

import { Kollator } from '../src/index.ts';

Object.assign(globalThis, { Kollator });
