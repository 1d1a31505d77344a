/**
 * Holds every state of the page, at phone and desktop width and in both themes, against axe-core, and against what the
 * page promises besides: nothing from elsewhere, nothing the policy stops, no scrolling sideways. Needs a preview build.
 */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { STATES, visit } from './states.mjs';

/** Evaluated by the browser's debugger, which the page's policy does not bind. */
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const { open, end } = await visit();
let faults = 0;
const fault = (text) => {
  faults += 1;
  console.error(text);
};

try {
  for (const state of STATES) {
    for (const width of [360, 1440]) {
      for (const theme of ['light', 'dark']) {
        const where = `${state.name} at ${width}, ${theme}`;
        const { page, troubles, close } = await open(state, { width, theme });
        for (const trouble of troubles) fault(`${where}: ${trouble}`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (wide > 0) fault(`${where}: ${wide} pixels wider than the window`);
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
        for (const { id, impact, help, nodes } of violations) {
          const line = `${where}: ${impact}: ${id}: ${help}: ${nodes.map(({ target }) => target.join(' ')).join('; ')}`;
          if (impact === 'serious' || impact === 'critical') fault(line);
          else console.log(line);
        }
        await close();
      }
    }
  }
} finally {
  await end();
}

console.log(faults === 0 ? `${STATES.length} states: nothing serious` : `${faults} faults`);
process.exitCode = faults === 0 ? 0 : 1;
