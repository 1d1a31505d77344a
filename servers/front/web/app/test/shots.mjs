/** Takes a picture of every state at three widths in both themes: `node test/shots.mjs FOLDER [STATE…]`. For looking at. */

import { mkdirSync } from 'node:fs';

import { STATES, visit } from './states.mjs';

const [folder, ...only] = process.argv.slice(2);
if (folder === undefined) throw new Error('say where the pictures go');
mkdirSync(folder, { recursive: true });
const { open, end } = await visit();
try {
  for (const state of STATES.filter(({ name }) => only.length === 0 || only.includes(name))) {
    for (const width of [360, 768, 1440]) {
      for (const theme of ['light', 'dark']) {
        const { page, troubles, close } = await open(state, { width, theme });
        await page.screenshot({ path: `${folder}/${state.name}-${width}-${theme}.png`, fullPage: true });
        for (const trouble of troubles) console.log(`${state.name} ${width} ${theme}: ${trouble}`);
        await close();
      }
    }
  }
} finally {
  await end();
}
