/** Persons' keys as they are typed and pasted. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isPersonal, keyProblem } from '../src/lib/person.ts';

const KEY = '3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08';

test('a key is one, with spaces around it or without', () => {
  assert.equal(keyProblem(KEY), '');
  assert.equal(keyProblem(`  ${KEY}\n`), '');
});

test('what is no key is told apart', () => {
  for (const [text, words] of [
    ['', /Paste their key first/],
    ['  ', /Paste their key first/],
    [`https://front.example/#${'a'.repeat(64)}&k=${KEY}`, /a link, not a key/],
    [KEY.slice(0, 40), /has 43 characters; this has 40, so a part is missing/],
    [`${KEY}AB`, /this has 45\.$/],
    ['my friend Anna', /not a key/],
    // As long, but the last character has bits that no key has.
    [`${KEY.slice(0, 42)}9`, /not a key/],
  ] as const) {
    assert.match(keyProblem(text), words, text);
  }
});

test('a link for one person is told from others', () => {
  const link = `https://front.example/#${'a'.repeat(64)}`;
  assert.equal(isPersonal(`${link}&dn=a&to=${KEY}`), true);
  for (const other of [link, `${link}&k=${KEY}`, 'https://front.example/?x&to=1#', `${link}&dn=%26to=`]) assert.equal(isPersonal(other), false, other);
});
