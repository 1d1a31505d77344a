import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerFor, askedFile, rangeOf, typeOf } from './file-response.ts';
import { fileUrl } from './files.ts';

const HASH = '0123456789abcdef'.repeat(4);
const asked = (path: string): ReturnType<typeof askedFile> => askedFile(new URL(path, 'https://front.example'));

test('an address names a file of a share, whatever the file is called', () => {
  for (const name of ['a.txt', 'grüße & <b>?#%.mp4', '../../x', '日本.webm', '\ud800']) {
    assert.deepEqual(asked(fileUrl(HASH, 3, name)), { infoHash: HASH, file: 3, download: false }, name);
  }
  assert.deepEqual(asked(fileUrl(HASH, 0, 'a', { download: true })), { infoHash: HASH, file: 0, download: true });
  for (const bad of ['/_share/', `/_share/${HASH.slice(1)}/0/a`, `/_share/${HASH}/-1/a`, `/_share/${HASH}/12345678/a`, `/x/${HASH}/0/a`]) {
    assert.equal(asked(bad), undefined, bad);
  }
});

test('ranges', () => {
  const cases: Array<[string | null, ReturnType<typeof rangeOf>]> = [
    [null, undefined],
    ['bytes=0-', [0, 100]],
    ['bytes=0-0', [0, 1]],
    ['bytes=10-19', [10, 20]],
    ['bytes=99-', [99, 100]],
    ['bytes=90-1000', [90, 100]],
    ['bytes=-10', [90, 100]],
    ['bytes=-1000', [0, 100]],
    ['bytes=100-', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=5-4', undefined],
    ['bytes=-', undefined],
    ['bytes=0-1,3-4', undefined],
    ['bytes=a-b', undefined],
    ['lines=0-1', undefined],
    ['bytes=9999999999999999999-', undefined],
  ];
  for (const [header, expected] of cases) assert.deepEqual(rangeOf(header, 100), expected, String(header));
  assert.equal(rangeOf('bytes=0-', 0), 'unsatisfiable');
});

test('answers to whole and partial requests', () => {
  const file = asked(fileUrl(HASH, 0, 'film.webm'))!;
  const whole = answerFor(file, 'film.webm', 100, new Headers());
  assert.deepEqual([whole.status, whole.start, whole.end], [200, 0, 100]);
  assert.equal(whole.headers['content-length'], '100');
  assert.equal(whole.headers['accept-ranges'], 'bytes');
  const part = answerFor(file, 'film.webm', 100, new Headers({ range: 'bytes=10-19' }));
  assert.deepEqual([part.status, part.start, part.end], [206, 10, 20]);
  assert.equal(part.headers['content-range'], 'bytes 10-19/100');
  assert.equal(part.headers['content-length'], '10');
  const beyond = answerFor(file, 'film.webm', 100, new Headers({ range: 'bytes=100-' }));
  assert.deepEqual([beyond.status, beyond.headers['content-range'], beyond.start, beyond.end], [416, 'bytes */100', 0, 0]);
  const other = answerFor(file, 'film.webm', 100, new Headers({ range: 'bytes=10-19', 'if-range': '"another"' }));
  assert.equal(other.status, 200);
  const same = answerFor(file, 'film.webm', 100, new Headers({ range: 'bytes=10-19', 'if-range': whole.headers.etag! }));
  assert.equal(same.status, 206);
});

test('nothing of a share can run in this origin', () => {
  for (const name of ['x.html', 'x.svg', 'x.xhtml', 'x.xml', 'x.js', 'x.mht', 'x', 'x.constructor', 'x.txt.html', 'x.HTM']) {
    assert.equal(typeOf(name), 'application/octet-stream', name);
  }
  const { headers } = answerFor(asked(fileUrl(HASH, 0, 'x.html'))!, 'x.html', 1, new Headers());
  assert.equal(headers['x-content-type-options'], 'nosniff');
  assert.match(headers['content-security-policy']!, /default-src 'none'; sandbox$/);
  assert.match(headers['content-disposition']!, /^attachment;/);
  assert.equal(typeOf('Film.WebM'), 'video/webm');
});

test('a name never breaks out of its header', () => {
  const file = asked(fileUrl(HASH, 0, 'x', { download: true }))!;
  for (const name of ['a"b\r\nset-cookie: x', "it's (1)*.txt", '日本.txt', '\udc00.txt']) {
    const disposition = answerFor(file, name, 1, new Headers()).headers['content-disposition']!;
    assert.match(disposition, /^attachment; filename\*=UTF-8''[A-Za-z0-9%._!~-]+$/);
    assert.equal(decodeURIComponent(disposition.slice(disposition.indexOf("''") + 2)), name.toWellFormed());
    assert.ok(new Headers({ 'content-disposition': disposition }));
  }
});
