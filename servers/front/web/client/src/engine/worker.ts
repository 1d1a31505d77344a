/** The entry of the engine's worker: answers what the page asks, and passes on what it tells. */

import { KollatorError } from '../errors.ts';
import { type Asked, Responder } from '../rpc.ts';
import { Engine } from './engine.ts';
import type { EngineMethods, FromEngine, Settings, ToEngine } from './protocol.ts';

/** The part of a worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<ToEngine>) => void) | null;
  postMessage(message: FromEngine, transfer: Transferable[]): void;
}

const scope = globalThis as unknown as Scope;
const tell = (message: FromEngine, transfer: Transferable[] = []): void => scope.postMessage(message, transfer);

let engine: Engine | undefined;

function running(): Engine {
  if (!engine) throw new KollatorError('broken', 'The engine was not opened.');
  return engine;
}

type Answers = {
  [M in keyof EngineMethods]: (
    asked: Asked,
    ...args: Parameters<EngineMethods[M]>
  ) => ReturnType<EngineMethods[M]> | Promise<ReturnType<EngineMethods[M]>>;
};

const methods: Answers = {
  open: async (_asked, settings: Settings) => {
    const module = await compile(new URL('../../../dist-wasm/kollator_machine.wasm', import.meta.url));
    engine = await Engine.open(module, settings, tell);
    return engine.states();
  },
  connect: () => running().connect(),
  disconnect: () => running().disconnect(),
  setSettings: (_asked, settings) => running().setSettings(settings),
  upload: (asked, items, options) => running().upload(asked, items, options),
  add: (_asked, link, options) => running().add(link, options),
  file: ({ signal }, infoHash, file) => running().file(infoHash, file, signal),
  settled: (asked, infoHash) => running().settled(asked, infoHash),
  pause: (_asked, infoHash) => running().pause(infoHash),
  resume: (_asked, infoHash) => running().resume(infoHash),
  setSeeding: (_asked, infoHash, seeding) => running().setSeeding(infoHash, seeding),
  delete: (_asked, infoHash) => running().delete(infoHash),
  read: (asked, part) => running().read(asked, part),
  publicKey: () => running().publicKey(),
  stats: () => running().stats(),
  chunkMap: (_asked, infoHash) => running().chunkMap(infoHash),
  peers: () => running().peers(),
  meet: (asked, infoHash, peer, purpose) => running().meet(asked, infoHash, peer, purpose),
  addWorkers: (_asked, infoHash, workers) => running().addWorkers(infoHash, workers),
};

const responder = new Responder(methods as Record<string, (asked: Asked, ...args: never[]) => unknown>, tell);

scope.onmessage = ({ data }) => {
  if (data.t === 'rtc') engine?.hear(data.event);
  else responder.hear(data);
};

async function compile(url: URL): Promise<WebAssembly.Module> {
  const response = await fetch(url);
  if (!response.ok) throw new KollatorError('broken', `The page's own ${url.pathname} is missing (${response.status}).`);
  return WebAssembly.compile(await response.arrayBuffer());
}
