// Lays compressed variants beside the files of a built page, so that the front need not compress what never changes, and
// checks that scripts and styles stay small. Prints what a browser loads.

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

/** Most gzipped bytes of all scripts and styles together. */
const MOST = 250 * 1024;
const COMPRESSIBLE = ['.html', '.js', '.css', '.wasm', '.json', '.webmanifest', '.svg', '.txt'];
/** A smaller file fits a packet or two as it is. */
const LEAST = 1024;

const dist = process.argv[2];
const kib = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`;
let code = 0;
for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  const path = join(entry.parentPath, entry.name);
  const kind = extname(entry.name);
  if (!entry.isFile() || !COMPRESSIBLE.includes(kind)) continue;
  const plain = readFileSync(path);
  const zipped = gzipSync(plain, { level: 9 });
  if (kind === '.js' || kind === '.css') code += zipped.length;
  if (plain.length < LEAST) continue;
  const quality = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: plain.length };
  const brotli = brotliCompressSync(plain, { params: quality });
  writeFileSync(`${path}.gz`, zipped);
  writeFileSync(`${path}.br`, brotli);
  console.log(`${path}: ${kib(plain.length)}, gzip ${kib(zipped.length)}, brotli ${kib(brotli.length)}`);
}
console.log(`all scripts and styles: ${kib(code)} gzipped`);
if (code > MOST) {
  console.error(`all scripts and styles: ${code} bytes gzipped, more than ${MOST}`);
  process.exitCode = 1;
}
