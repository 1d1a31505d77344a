/** Takes a picture of every state at three widths in both themes: `node test/browser/shots.ts FOLDER [STATE…]`. For looking at. */

import { mkdirSync } from 'node:fs';

import { STATES, visitor } from './states.ts';

const [folder, ...only] = process.argv.slice(2);
if (folder === undefined) throw new Error('say where the pictures go');
mkdirSync(folder, { recursive: true });
const { open, end } = await visitor();
try {
  for (const state of STATES.filter(({ name }) => only.length === 0 || only.includes(name))) {
    for (const width of [360, 768, 1440]) {
      for (const theme of ['light', 'dark'] as const) {
        const { page, context } = await open(state, { width, theme });
        await page.screenshot({ path: `${folder}/${state.name}-${width}-${theme}.png`, fullPage: true });
        await context.close();
      }
    }
  }
} finally {
  await end();
}
