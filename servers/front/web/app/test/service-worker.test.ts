/** Whether the page waits for its service worker, and how long. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { serviceWorkerServes } from '../src/lib/service-worker.ts';

class Container extends EventTarget {
  controller: object | null = null;
  asked: string[] = [];
  onregister: () => void;

  constructor(onregister: (container: Container) => void) {
    super();
    this.onregister = () => onregister(this);
  }

  async register(path: string): Promise<void> {
    this.asked.push(path);
    this.onregister();
  }
}

const serves = (container: Container | undefined, patience?: number): Promise<boolean> =>
  serviceWorkerServes(container as unknown as ServiceWorkerContainer | undefined, patience);

test('it serves where it is there already, or takes over in time', async () => {
  const there = new Container((container) => (container.controller = {}));
  assert.equal(await serves(there), true);
  assert.deepEqual(there.asked, ['/sw.js']);
  assert.equal(await serves(new Container((container) => setTimeout(() => container.dispatchEvent(new Event('controllerchange')), 5))), true);
});

test('it does not where browsers have none, refuse it, or leave the page alone', async () => {
  assert.equal(await serves(undefined), false);
  const refused = new Container(() => {
    throw new DOMException('not here', 'SecurityError');
  });
  assert.equal(await serves(refused), false);
  assert.equal(await serves(new Container(() => undefined), 20), false, 'the page waits for ever');
});
