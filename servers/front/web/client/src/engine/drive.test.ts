import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Input, Output } from '../machine-types.ts';
import { Drive, type Driven } from './drive.ts';
import { TestClock } from './testing.ts';

/** A machine that answers as it is told to. */
class Fake implements Driven {
  heard: Array<[number, Input, string]> = [];
  outputs: Output[] = [];
  wakeAt: number | undefined;
  isEntered = false;
  refuses = '';
  readonly payload = new Uint8Array([1, 2, 3]);

  handle(now: number, input: Input, payload = new Uint8Array()): void {
    assert.equal(this.isEntered, false, 'entered twice');
    this.isEntered = true;
    this.heard.push([now, input, String(payload)]);
    this.isEntered = false;
    if (input.t === 'wake') this.wakeAt = undefined;
    if (input.t === this.refuses) throw new Error('no');
  }

  *poll(): Generator<{ header: Output; payload: Uint8Array }> {
    for (let header = this.outputs.shift(); header; header = this.outputs.shift()) yield { header, payload: this.payload };
  }

  nextWake(): number | undefined {
    return this.wakeAt;
  }
}

test('what comes up while outputs are carried out waits for its turn', () => {
  const machine = new Fake();
  const done: string[] = [];
  const drive: Drive = new Drive(
    machine,
    (output) => {
      done.push(`${output.t} after ${machine.heard.length}`);
      if (output.t === 'rtcSend') drive.input({ t: 'rtcSent', conn: 1, bytes: 3 });
    },
    assert.fail,
    new TestClock(),
  );
  machine.outputs = [{ t: 'rtcSend', conn: 1 }, { t: 'linkSend' }];
  drive.input({ t: 'linkUp' });
  assert.deepEqual(done, ['rtcSend after 1', 'linkSend after 1']);
  assert.deepEqual(machine.heard.map(([, input]) => input.t), ['linkUp', 'rtcSent']);
});

test('the machine is woken when it wants to be, and not before', () => {
  const machine = new Fake();
  const clock = new TestClock();
  const drive = new Drive(machine, () => {}, assert.fail, clock);
  machine.wakeAt = 250.5;
  drive.input({ t: 'linkUp' });
  clock.pass(250);
  assert.equal(machine.heard.length, 1);
  clock.pass(1);
  assert.deepEqual(machine.heard[1], [251, { t: 'wake' }, '']);
  clock.pass(1e6);
  assert.equal(machine.heard.length, 2);
});

test('an earlier wake replaces a later one', () => {
  const machine = new Fake();
  const clock = new TestClock();
  const drive = new Drive(machine, () => {}, assert.fail, clock);
  machine.wakeAt = 5000;
  drive.input({ t: 'linkUp' });
  machine.wakeAt = 100;
  drive.input({ t: 'linkUp' });
  clock.pass(10_000);
  assert.deepEqual(machine.heard.map(([now, { t }]) => [now, t]), [[0, 'linkUp'], [0, 'linkUp'], [100, 'wake']]);
});

test('a wake that was put off comes when it is due, one that was given up never', () => {
  const machine = new Fake();
  const clock = new TestClock();
  const drive = new Drive(machine, () => {}, assert.fail, clock);
  machine.wakeAt = 100;
  drive.input({ t: 'linkUp' });
  machine.wakeAt = 300;
  drive.input({ t: 'linkUp' });
  clock.pass(299);
  assert.equal(machine.heard.length, 2);
  clock.pass(1);
  assert.deepEqual(machine.heard[2], [300, { t: 'wake' }, '']);
  machine.wakeAt = 400;
  drive.input({ t: 'linkUp' });
  machine.wakeAt = undefined;
  clock.pass(10_000);
  assert.equal(machine.heard.length, 4);
});

test('an input that the machine refuses is reported, and the rest goes on', () => {
  const machine = new Fake();
  const refused: string[] = [];
  const drive = new Drive(machine, () => {}, (input) => refused.push(input.t), new TestClock());
  machine.refuses = 'linkDown';
  drive.input({ t: 'linkDown', reason: '' });
  drive.input({ t: 'linkUp' });
  assert.deepEqual(refused, ['linkDown']);
  assert.equal(machine.heard.length, 2);
});

test('after its end nothing reaches the machine', () => {
  const machine = new Fake();
  const clock = new TestClock();
  const drive = new Drive(machine, () => {}, assert.fail, clock);
  machine.wakeAt = 10;
  drive.input({ t: 'linkUp' });
  drive.end();
  drive.input({ t: 'linkUp' });
  clock.pass(100);
  assert.equal(machine.heard.length, 1);
});
