import assert from 'node:assert/strict';
import { createCipheriv, createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { PLAIN_BLOCK, SEALED_BLOCK, Seal, newKey, openRange, plainLength, sealedLength, type FileEntry } from './seal.ts';

const KEY = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8';
const LONG = 'x'.repeat(150);
const counting = (length: number): Uint8Array<ArrayBuffer> => Uint8Array.from({ length }, (_, at) => at % 251);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const asInMetainfo = (files: Array<{ sealedPath: string[]; length: number }>): FileEntry[] =>
  files.map((file) => ({ path: file.sealedPath, length: sealedLength(file.length) }));

// The same answers as in core/tests/seal.rs, which another implementation gave.
test('a share is sealed as documented', async () => {
  const seal = await Seal.of(KEY);
  const files = [['ünï', 'empty'], ['b.bin'], [LONG], ['a.txt']].map((path, at) => ({ path, length: [0, 16369, 1, 6][at]! }));
  const { share, order } = await seal.layout('photos', files);
  assert.deepEqual(order, [3, 1, 2, 0]);
  assert.deepEqual(share.files[0]!.sealedPath, [
    '000000.621ZAxI3bG9EHhM6PAwu1JGiqTLya1tGJYXeNdNF9zYRBC9q-J2E9KOLQMl56rW_Jp9pADrWx8WrknrC',
  ]);
  assert.deepEqual(share.files[2]!.sealedPath, [
    '000002.dnslv0v2a8YJkU1bkGbUYFqJYr8N58ojXVdxIKBRZ9QlRJ3Lz4Na84-Q9GEZI5sLYraznWbkxESYGnwoj1FtdnR4KkMDLM_TjOSfhJTjY8v' +
      'rgwla1unTfwRuyJsuApZrTO4f3LIdqK3hWEhc4VGkcMrFCuvgTNawuPZ_BoqjdtYL0iVmEMwdVWMddph8Q56Ddm3TStqy',
    '3r1jI1F3pX9E7x0JdYdB5Fo_hArK5W-nt7tRyFiZRMgvsFFriwQ',
  ]);
  const [first, second] = await Promise.all(share.files.slice(0, 2).map((file) => seal.content(file)));
  assert.equal(hex(await first!.sealRun(6, 0, new TextEncoder().encode('hello\n'))), 'c367832a042a1d6b8cc7ecb1237701521574515095fb');
  const sealed = await second!.sealRun(16369, 0, counting(16369));
  assert.equal(createHash('sha256').update(sealed).digest('hex'), 'ec7678f739d39ef0feb4023ece05da7779f969028e329142cf31f1bf8329a27d');
  assert.deepEqual(await second!.openRun(16369, 0, sealed), counting(16369));
  assert.deepEqual(await seal.open(asInMetainfo(share.files)), share);
});

test('a share of one file is one again', async () => {
  const seal = await Seal.of(newKey());
  const { share } = await seal.layout('日本.txt', [{ path: ['日本.txt'], length: 5 }]);
  assert.equal(share.single, true);
  assert.deepEqual(await seal.open(asInMetainfo(share.files)), share);
  const { share: folder } = await seal.layout('a', [{ path: ['a', 'a'], length: 5 }]);
  assert.equal(folder.single, false);
  assert.deepEqual(await seal.open(asInMetainfo(folder.files)), folder);
});

test('a wrong key, and one that is none, are said', async () => {
  const { share } = await (await Seal.of(KEY)).layout('n', [{ path: ['a'], length: 1 }]);
  await assert.rejects((await Seal.of(newKey())).open(asInMetainfo(share.files)), { code: 'key-wrong' });
  for (const bad of ['', KEY.slice(1), `${KEY}A`, `${KEY.slice(0, -1)}9`, `${KEY.slice(0, -1)}=`]) {
    await assert.rejects(Seal.of(bad), (error: Error & { code: string }) => error.code === 'key-wrong' && !error.message.includes(KEY.slice(1, 20)));
  }
});

test('what no honest sealer makes is refused', async () => {
  const seal = await Seal.of(KEY);
  const forge = (names: Array<string | [name: string, nonce: Buffer]>, length = 17): FileEntry[] =>
    names.map((name, number) => ({ path: forged(number, ...(typeof name === 'string' ? [name] : name) as [string, Buffer?]), length }));
  const [one] = forge(['share/a']);
  const cases: Array<[FileEntry[], RegExp]> = [
    [forge(['share/../x']), /relative to another/],
    [forge(['../x']), /relative to another/],
    [forge(['/etc/x']), /is empty/],
    [forge(['share//x']), /is empty/],
    [forge(['share/a\\b']), /path separator/],
    [forge(['share/a\nb']), /control character/],
    [forge(['share/a', 'share/a']), /out of order/],
    [forge(['share/b', 'share/a']), /out of order/],
    [forge(['share/a', 'share/a-b', 'share/a/c']), /a file and a folder at once/],
    [forge(['share', 'share/a']), /not in the folder/],
    [forge(['share/a', 'sharf/b']), /not in the folder/],
    [forge([`share/${'x'.repeat(256)}`]), /longer than 255/],
    [forge([['share/a', randomBytes(12)]]), /nonce that is not its own/],
    [forge(['share/a'], 16), /no file has its length/],
    [forge(['share/a'], 0), /^$/],
    [[{ path: [one!.path[0]!.replace('000000', '000001')], length: 17 }], /not that of an encrypted file/],
    [[{ path: [`${one!.path[0]!}A`], length: 17 }], /not that of an encrypted file/],
    [[{ path: ['000000.', one!.path[0]!.slice(7)], length: 17 }], /not that of an encrypted file/],
    [[], /no files/],
  ];
  for (const [files, why] of cases) {
    if (why.source === '^$') assert.equal((await seal.open(files)).files[0]!.length, 0);
    else await assert.rejects(seal.open(files), (error: Error & { code: string }) => error.code === 'broken' && why.test(error.message), String(why));
  }
});

test('names to be sealed are checked', async () => {
  const seal = await Seal.of(KEY);
  const deep = Array.from({ length: 50 }, () => 'd'.repeat(250));
  for (const path of [['..'], ['a', ''], [], ['a\u0007'], ['\ud800'], deep, Array.from({ length: 65 }, () => 'd')]) {
    await assert.rejects(seal.layout('n', [{ path, length: 1 }, { path: ['z'], length: 1 }]), { code: 'refused' });
  }
});

test('a block opens at its place only', async () => {
  const seal = await Seal.of(KEY);
  const key = await seal.content({ nonce: new Uint8Array(12) });
  const sealed = await key.sealRun(PLAIN_BLOCK * 2, 0, counting(PLAIN_BLOCK * 2));
  const [first, second] = [sealed.slice(0, SEALED_BLOCK), sealed.slice(SEALED_BLOCK)];
  assert.deepEqual(await key.open(1, true, second), counting(PLAIN_BLOCK * 2).slice(PLAIN_BLOCK));
  const changed = first.slice();
  changed[100]! ^= 1;
  for (const [block, last, bytes] of [[0, false, second], [0, true, first], [1, false, second], [0, false, changed], [0, false, first.slice(0, 16)]] as const) {
    await assert.rejects(key.open(block, last, bytes), { code: 'broken' });
  }
  await assert.rejects(key.seal(0, true, new Uint8Array()), RangeError);
});

test('any range of a sealed file is read from as few blocks as hold it', async () => {
  const key = await (await Seal.of(KEY)).content({ nonce: new Uint8Array(12) });
  const plain = new Uint8Array(randomBytes(PLAIN_BLOCK * 3 + 100));
  const sealed = await key.sealRun(plain.length, 0, plain);
  for (const [start, end] of [[0, 0], [0, 1], [PLAIN_BLOCK - 1, PLAIN_BLOCK + 1], [PLAIN_BLOCK, 2 * PLAIN_BLOCK], [5, plain.length], [plain.length - 1, plain.length]] as const) {
    let asked = 0;
    const read = async (offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> => {
      asked += length;
      return sealed.slice(offset, offset + length);
    };
    assert.deepEqual(await openRange(key, plain.length, read, start, end), plain.slice(start, end), `${start} to ${end}`);
    assert.ok(asked <= (Math.ceil((end - start) / PLAIN_BLOCK) + 1) * SEALED_BLOCK);
  }
  await assert.rejects(openRange(key, plain.length, async () => sealed, 0, plain.length + 1), RangeError);
});

test('lengths', () => {
  for (const plain of [0, 1, PLAIN_BLOCK, PLAIN_BLOCK + 1, 12345678]) assert.equal(plainLength(sealedLength(plain)), plain);
  assert.equal(sealedLength(PLAIN_BLOCK + 1), SEALED_BLOCK + 17);
  for (const sealed of [1, 16, SEALED_BLOCK + 16]) assert.equal(plainLength(sealed), undefined);
});

/** The path of a sealed name as node's own cryptography makes it: any name, under any nonce. */
function forged(number: number, name: string, nonce?: Buffer): string[] {
  const names = Buffer.from(hkdfSync('sha256', Buffer.from(KEY, 'base64url'), '', 'kollator names 1', 32));
  const rank = Buffer.alloc(4);
  rank.writeUInt32BE(number);
  const iv = nonce ?? createHmac('sha256', names).update(rank).update(name).digest().subarray(0, 12);
  const padded = Buffer.alloc(Math.ceil(Buffer.byteLength(name) / 32) * 32);
  padded.write(name);
  const cipher = createCipheriv('aes-256-gcm', names, iv);
  const text = Buffer.concat([iv, cipher.update(padded), cipher.final(), cipher.getAuthTag()]).toString('base64url');
  const [first, ...rest] = text.match(/.{1,200}/g) ?? [];
  return [`${number.toString(16).padStart(6, '0')}.${first}`, ...rest];
}
