/** What the page and the engine's worker say to each other. Types only. */

import type { Answer, Question } from '../rpc.ts';
import type { RtcCommand, RtcEvent } from '../rtc/messages.ts';
import type { ChunkMap, ConnectedSource, KollatorOptions, ShareState, Stats, UploadItem, UploadOptions } from '../types.ts';

/** Options with nothing left out. */
export type Settings = Required<KollatorOptions>;

/** To the worker. */
export type ToEngine = Question | { t: 'rtc'; event: RtcEvent };

/** To the page. */
export type FromEngine =
  | Answer
  | { t: 'share'; state: ShareState }
  | { t: 'removed'; infoHash: string }
  | { t: 'network'; stats: Stats }
  | { t: 'rtc'; command: RtcCommand }
  /** The engine broke down; nothing else comes. */
  | { t: 'broken'; message: string };

/** Part of a readable file. */
export interface Part {
  infoHash: string;
  file: number;
  offset: number;
  length: number;
}

/** What the page can ask of the worker: of each method, what it takes and what it answers. */
export interface EngineMethods {
  /** To be called once, first: opens the storage. Answers with the shares that are kept. */
  open(settings: Settings): ShareState[];
  connect(): void;
  disconnect(): void;
  setSettings(settings: Settings): void;
  /** Notes are states. Answers when there is a link. */
  upload(items: UploadItem[], options: Pick<UploadOptions, 'name' | 'encrypt' | 'to'>): ShareState;
  /** Answers when a share is safe, or complete. Notes are states. */
  settled(infoHash: string): ShareState;
  pause(infoHash: string): void;
  resume(infoHash: string): void;
  setSeeding(infoHash: string, seeding: boolean): void;
  delete(infoHash: string): void;
  /** Begins to get a share; answers at once. */
  add(link: string, options: { sequential?: boolean }): ShareState;
  /** A file of a share, once it is known what that holds. */
  file(infoHash: string, file: number): { path: string; length: number };
  /** Answers once the bytes are here. */
  read(part: Part): Uint8Array<ArrayBuffer>;
  publicKey(): string;
  stats(): Stats;
  chunkMap(infoHash: string): ChunkMap;
  peers(): ConnectedSource[];
  /** Connects to a peer for a share. Answers once it is connected, or there is no use for it any more. */
  meet(infoHash: string, peer: string, purpose: 'request' | 'send'): void;
  addWorkers(infoHash: string, workers: string[]): void;
}
