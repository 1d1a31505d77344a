/** Runs all tests, or those whose names the first argument (a regular expression) is found in. */

import { Network } from './network.ts';
import { runTests } from './suite.ts';
import * as channel from './tests/channel.ts';
import * as media from './tests/media.ts';
import * as sharing from './tests/sharing.ts';
import * as swarm from './tests/swarm.ts';
import * as trouble from './tests/trouble.ts';

const { KOLLATOR_BIN: bin, KOLLATOR_ARTEFACTS: artefacts } = process.env;
if (!bin || !artefacts) throw new Error('run.sh starts this');
const network = new Network(bin);
let good = false;
try {
  network.start();
  good = await runTests({ ...channel, ...sharing, ...swarm, ...media, ...trouble }, new RegExp(process.argv[2] ?? ''), network, artefacts);
  if (!good) network.keepLogs(artefacts);
} finally {
  network.remove();
}
process.exit(good ? 0 : 1);
