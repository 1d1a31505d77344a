// Checks a built machine: that it imports nothing, exports what its boundary is, and is small. Prints its size.

import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const MOST = 400 * 1024;
const EXPECTED = [
  'call', 'handle', 'memory', 'next_wake', 'output', 'panic_message', 'poll', 'reserve', 'start',
];
// What the linker adds on its own.
const LINKER = ['__data_end', '__heap_base'];

const path = process.argv[2];
const bytes = readFileSync(path);
const module = new WebAssembly.Module(bytes);
const faults = [];

const imports = WebAssembly.Module.imports(module);
if (imports.length > 0) {
  faults.push(`it imports ${imports.map(({ module, name }) => `${module}.${name}`).join(', ')}`);
}
const names = WebAssembly.Module.exports(module).map(({ name }) => name);
const exported = names.filter((name) => !LINKER.includes(name)).sort();
if (exported.join() !== EXPECTED.join()) {
  faults.push(`it exports ${exported.join(', ')}, not ${EXPECTED.join(', ')}`);
}
const zipped = gzipSync(bytes, { level: 9 }).length;
if (zipped > MOST) {
  faults.push(`it has ${zipped} bytes gzipped, more than ${MOST}`);
}

console.log(`${path}: ${bytes.length} bytes, ${zipped} gzipped`);
for (const fault of faults) console.error(`${path}: ${fault}`);
process.exitCode = faults.length > 0 ? 1 : 0;
