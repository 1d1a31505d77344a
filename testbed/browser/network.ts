/**
 * The testbed's network, and the terminal program beside it, as a test sees them. Started by the same scripts that a
 * person uses, in a folder of its own.
 */

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const TESTBED = fileURLToPath(new URL('..', import.meta.url));
/** Nobody else is in the namespace, so any will do. */
const BASE_PORT = 8080;

/** A network that start.sh starts. */
export class Network {
  readonly dir = mkdtempSync(join(tmpdir(), 'kollator-network-'));
  /** The first front, whose page tests open. */
  readonly front = `http://127.0.0.1:${BASE_PORT}`;
  readonly bin: string;

  constructor(bin: string) {
    this.bin = bin;
  }

  /** Starts it, or starts again the parts that ended; `settings` go to fronts and workers as environment variables. */
  start(settings: Record<string, string> = {}): void {
    this.#script('start.sh', settings);
  }

  stop(): void {
    this.#script('stop.sh', {});
  }

  /** Ends it for good. */
  remove(): void {
    this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Runs `task` while workers and fronts have other settings. */
  async having(settings: Record<string, string>, task: () => Promise<void>): Promise<void> {
    this.stop();
    this.start(settings);
    try {
      await task();
    } finally {
      this.stop();
      this.start();
    }
  }

  #script(name: string, settings: Record<string, string>): void {
    const env = {
      ...process.env,
      ...settings,
      KOLLATOR_TESTBED_DIR: join(this.dir, 'run'),
      KOLLATOR_BASE_PORT: String(BASE_PORT),
      // start.sh takes its binaries from the folder `release` in there.
      CARGO_TARGET_DIR: join(this.bin, '..'),
    };
    const done = spawnSync(join(TESTBED, name), { env, encoding: 'utf8', timeout: 120_000 });
    if (done.status !== 0) throw new Error(`${name}: exit ${done.status}: ${done.stdout}${done.stderr}`);
  }

  /** Copies every part's log to `folder`. */
  keepLogs(folder: string): void {
    cpSync(join(this.dir, 'run/logs'), join(folder, 'logs'), { recursive: true });
    console.log(`the logs of fronts and workers are in ${join(folder, 'logs')}`);
  }

  /** The folder of everything that workers and S3 store. */
  get stored(): string {
    return join(this.dir, 'run');
  }

  /** Runs the terminal program to its end; what it printed. */
  async kollator(...args: string[]): Promise<string> {
    const child = this.background(...args);
    let out = '';
    let said = '';
    child.stdout?.on('data', (data: Buffer) => (out += data.toString()));
    child.stderr?.on('data', (data: Buffer) => (said += data.toString()));
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    if (code !== 0) throw new Error(`kollator ${args.join(' ')}: exit ${code}: ${said}`);
    return out;
  }

  /** The terminal program, running. */
  background(...args: string[]): ChildProcess {
    return spawn(join(this.bin, 'kollator'), ['--front', this.front, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** The link of a share of `path`, made by the terminal program. */
  async share(path: string, ...options: string[]): Promise<string> {
    return (await this.kollator('share', path, ...options)).trim();
  }

  /** Downloads `link` with the terminal program; the last line it said of it. */
  async download(link: string, output: string, ...options: string[]): Promise<Record<string, unknown>> {
    const lines = (await this.kollator('download', link, '--output', output, '--json', ...options)).trim().split('\n');
    return JSON.parse(lines.at(-1) ?? '') as Record<string, unknown>;
  }
}

