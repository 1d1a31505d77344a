/**
 * Every state of the page in a browser, at phone and desktop width and in both themes: held against axe-core, and
 * against what the page promises besides. Needs a preview build (`npm run test:browser` makes one).
 */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';

import type { AxeResults } from 'axe-core';

import { KEY, LINK, STATES, forPerson, send, visitor, type State, type Visitor } from './states.ts';

/** Evaluated by the browser's debugger, which the page's policy does not bind. */
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let browser: Visitor;
before(async () => {
  browser = await visitor();
});
after(() => browser.end());

function state(name: string): State {
  const found = STATES.find((each) => each.name === name);
  assert.ok(found, `there is a state ${name}`);
  return found;
}

for (const each of STATES) {
  test(`${each.name}: axe finds nothing serious, nothing sticks out, nothing is asked of others or stopped by the policy`, async () => {
    for (const width of [360, 1440]) {
      for (const theme of ['light', 'dark'] as const) {
        const { page, context, troubles } = await browser.open(each, { width, theme });
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(wide <= 0, `${wide} pixels wider than a window of ${width}`);
        await page.evaluate(AXE);
        const results = (await page.evaluate('axe.run(document)')) as AxeResults;
        const serious = results.violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
        assert.deepEqual(serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).join('; ')}`), [], `at ${width}, ${theme}`);
        assert.deepEqual(troubles, [], `at ${width}, ${theme}`);
        await context.close();
      }
    }
  });
}

test('leaving is asked about while the tab is needed, and not once it is safe', async () => {
  for (const [name, asked] of [['preparing', true], ['uploading', true], ['safe', false], ['home', false]] as const) {
    const { page, context } = await browser.open(state(name));
    // Browsers ask only on pages that were used.
    await page.locator('h1').first().click();
    let dialogs = 0;
    page.on('dialog', (dialog) => {
      dialogs += 1;
      void dialog.accept();
    });
    await page.reload();
    assert.equal(dialogs > 0, asked, name);
    await context.close();
  }
});

test('a file goes from being picked to a link to safe, and the address never holds the key', async () => {
  const { page, context } = await browser.open({ name: 'run', until: 'text=Drop a file.' });
  await send(page, 'notes.txt');
  await page.locator('[data-phase=uploading]').waitFor();
  const link = await page.getByTestId('share-link').inputValue();
  assert.match(link, /#[0-9a-f]{64}&dn=notes\.txt&k=/);
  assert.match(page.url(), /#\/share\/[0-9a-f]{64}$/);
  await page.getByRole('link', { name: 'My files' }).click();
  assert.equal(await page.getByTestId('share-item').count(), 1);
  await context.close();
});

test('what is for one person is shared only once their key is right, and its link says so', async () => {
  const { page, context } = await browser.open({ name: 'run', until: 'text=Drop a file.' });
  const below = page.getByLabel('Have a link?');
  const place = await below.boundingBox();
  await page.getByRole('radio', { name: 'Anyone with the link' }).focus();
  await page.keyboard.press('ArrowRight');
  assert.ok(await page.getByRole('radio', { name: 'Only one person' }).isChecked());
  assert.equal(await page.getByRole('switch').count(), 0, 'it is always encrypted');
  const field = page.getByLabel('Their key');
  assert.equal(await field.getAttribute('aria-invalid'), 'false', 'nobody is told off for what they have not done yet');

  const problem = page.locator('#person-problem');
  await send(page);
  await problem.getByText('Paste their key first').waitFor();
  assert.ok(await field.evaluate((element) => element === document.activeElement));
  await page.keyboard.insertText(KEY.slice(1));
  await problem.getByText('this has 42').waitFor();
  assert.equal(await field.getAttribute('aria-invalid'), 'true');
  assert.match((await field.getAttribute('aria-describedby')) ?? '', /person-problem/);
  await send(page);
  assert.equal(await page.locator('[data-phase]').count(), 0, 'nothing is shared');
  assert.deepEqual(await below.boundingBox(), place, 'nothing moves');

  await field.fill(` ${KEY} `);
  assert.equal(await problem.innerText(), '');
  await send(page);
  await page.locator('[data-phase=uploading]').waitFor();
  assert.match(await page.getByTestId('share-link').inputValue(), /&to=[\w-]+$/);
  await page.getByText('Only the person whose key you gave can open it.').waitFor();
  await context.close();
});

test('whom it is for stays chosen when something went wrong', async () => {
  const { page, context } = await browser.open({ name: 'full', until: 'text=Drop a file.', act: (shown) => forPerson(shown, KEY) });
  await send(page);
  await page.getByText('No room left on this device').waitFor();
  await page.getByRole('button', { name: 'Start again' }).click();
  assert.equal(await page.getByLabel('Their key').inputValue(), KEY);
  await context.close();
});

test('a link for somebody else says so, and where the key of this browser is, to be copied', async () => {
  const { page, context } = await browser.open(state('somebody-else'));
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.getByRole('heading', { name: 'This is for somebody else' }).waitFor();
  assert.equal(await page.getByRole('button', { name: 'Try again' }).count(), 0);
  await page.getByRole('link', { name: 'See the key of this browser' }).click();
  const key = page.getByRole('textbox', { name: 'Your key' });
  await page.getByRole('button', { name: 'Copy key' }).click();
  await page.getByText('Key copied').waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await key.inputValue());
  assert.equal(await key.inputValue(), KEY);
  await context.close();
});

test('a name is text, whatever it looks like', async () => {
  const name = '<img src=x onerror="document.title=1">.txt';
  const { page, context, troubles } = await browser.open({ name: 'preparing', until: 'text=Drop a file.' });
  await send(page, name);
  await page.locator('[data-phase=preparing]').waitFor();
  assert.equal(await page.locator('h1').innerText(), name);
  assert.equal(await page.locator('img').count(), 0);
  assert.deepEqual(troubles, []);
  await context.close();
});

test('a dropped file is shared, and the page is not left for it', async () => {
  const { page, context } = await browser.open({ name: 'preparing', until: 'text=Drop a file.' });
  const transfer = await page.evaluateHandle(() => {
    const data = new DataTransfer();
    data.items.add(new File(['x'.repeat(1000)], 'dropped.txt'));
    return data;
  });
  await page.dispatchEvent('body', 'dragover', { dataTransfer: transfer });
  await page.getByText('Let go to share').waitFor();
  await page.dispatchEvent('body', 'drop', { dataTransfer: transfer });
  await page.locator('[data-phase=preparing]').waitFor();
  assert.equal(await page.locator('h1').innerText(), 'dropped.txt');
  await context.close();
});

test('a pasted link opens, a broken one says what is missing', async () => {
  const { page, context } = await browser.open({ name: 'receiving', until: 'text=Drop a file.' });
  const origin = new URL(page.url()).origin;
  await page.getByLabel('Have a link?').fill(`${origin}/#7d0c`);
  await page.getByRole('button', { name: 'Open' }).click();
  await page.getByText('This link is not whole.').waitFor();
  await page.getByLabel('Have a link?').fill(`${origin}/${LINK}`);
  await page.keyboard.press('Enter');
  await page.locator('[data-phase=downloading]').waitFor();
  assert.ok(page.url().endsWith(LINK));
  await context.close();
});

test('the legend tells what came from whom', async () => {
  const { page, context } = await browser.open(state('receiving'));
  const sources = page.getByTestId('sources');
  const [disk, worker, peer, http] = await Promise.all(['disk', 'worker', 'peer', 'http'].map(async (kind) => Number(await sources.getAttribute(`data-${kind}`))));
  assert.ok(disk && worker && peer && http);
  const entry = page.getByRole('button', { name: /Peer 1/ });
  await entry.press('Enter');
  assert.equal(await entry.getAttribute('aria-pressed'), 'true');
  await page.getByRole('button', { name: /Peer 4/ }).getByText('does not match its hash').waitFor();
  await context.close();
});

test('pausing and going on', async () => {
  const { page, context } = await browser.open(state('receiving'));
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.locator('[data-phase=paused]').waitFor();
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.locator('[data-phase=downloading]').waitFor();
  await context.close();
});

test('deleting is asked about first', async () => {
  const { page, context } = await browser.open(state('files'));
  const item = page.getByTestId('share-item').filter({ hasText: 'Quarterly report' });
  await item.getByRole('button', { name: /Delete/ }).click();
  await page.getByRole('button', { name: 'Keep it' }).click();
  assert.equal(await item.count(), 1);
  await item.getByRole('button', { name: /Delete/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await item.waitFor({ state: 'detached' });
  await context.close();
});

test('choices are remembered, and nonsense is not taken', async () => {
  const { page, context } = await browser.open(state('settings'));
  await page.getByLabel('Dark').check({ force: true });
  await page.getByLabel('Upload limit').fill('2.5');
  await page.getByLabel('Download limit').fill('fast');
  await page.getByLabel('Upload limit').focus();
  await page.getByText('Type a number of megabytes').waitFor();
  await page.reload();
  assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme), 'dark');
  assert.equal(await page.getByLabel('Upload limit').inputValue(), '2.5');
  assert.equal(await page.getByLabel('Download limit').inputValue(), '');
  await context.close();
});

test('the layout stands still while a share comes in', async () => {
  const { page, context } = await browser.open({ name: 'run', hash: LINK, until: '[data-testid=sources] li' });
  const shift = await page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        let sum = 0;
        const observer = new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) sum += (entry as PerformanceEntry & { value: number }).value;
        });
        observer.observe({ type: 'layout-shift' });
        setTimeout(() => resolve(sum), 4000);
      }),
  );
  // Half of what browsers' vendors call good.
  assert.ok(shift < 0.05, `moved by ${shift}`);
  await context.close();
});
