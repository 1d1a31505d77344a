/**
 * One run of the machine, from connecting to disconnecting: the machine with its front, its connections, its requests
 * over HTTP and its disk. It carries things back and forth and decides nothing.
 */

import { KollatorError } from '../errors.ts';
import type { Input, MachineEvent, Output } from '../machine-types.ts';
import type { Machine } from '../machine.ts';
import type { RtcCommand, RtcEvent } from '../rtc/messages.ts';
import type { IceServer } from '../rtc/messages.ts';
import { Channels } from './channels.ts';
import { Disk, type OpenShare } from './disk.ts';
import { type Bytes, Drive } from './drive.ts';
import { Http } from './http.ts';
import { Link } from './link.ts';

/** How long connections may take to send what is queued when everything ends. */
const GRACE = 1500;

/** Whom a run speaks with besides the network. */
export interface Surroundings {
  tellPage(command: RtcCommand, transfer: Transferable[]): void;
  /** The open store of a share. */
  opened(infoHash: string): OpenShare | Promise<OpenShare> | undefined;
  diskFailed(infoHash: string, error: KollatorError): void;
  /** Bytes of a share were read for others. */
  served(infoHash: string, bytes: number): void;
  hear(event: MachineEvent, payload: Bytes): void;
  /** The machine broke down; nothing works any more. */
  broken(error: unknown): void;
}

/** Settings of a run. */
export interface NetworkOptions {
  fronts: string[];
  relayOnly: boolean;
}

/** See the module's documentation. */
export class Network {
  readonly #surroundings: Surroundings;
  readonly #drive: Drive;
  readonly #link: Link;
  readonly #http: Http;
  readonly #disk: Disk;
  readonly #channels: Channels;
  #iceServers: IceServer[] = [];
  #relayOnly: boolean;

  constructor(machine: Machine, options: NetworkOptions, surroundings: Surroundings) {
    this.#surroundings = surroundings;
    this.#relayOnly = options.relayOnly;
    this.#drive = new Drive(
      machine,
      (output, payload) => this.#execute(output, payload),
      (input, error) => {
        // A trap has a cause. What is merely refused changed nothing, and whoever waits for it has a timer of its own.
        if (error instanceof KollatorError && error.cause === undefined) console.warn(`Kollator: "${input.t}" was refused: ${error.message}`);
        else surroundings.broken(error);
      },
    );
    const input = (what: Input, payload?: Uint8Array): void => this.#drive.input(what, payload);
    this.#link = new Link(options.fronts, input);
    this.#http = new Http(input);
    this.#disk = new Disk(surroundings.opened, input, surroundings.diskFailed);
    this.#channels = new Channels((command, transfer) => surroundings.tellPage(command, transfer), input);
    this.#useIceServers();
    this.input({ t: 'wake' });
  }

  /** Tells the machine something. */
  input(input: Input, payload?: Uint8Array): void {
    this.#drive.input(input, payload);
  }

  /** Takes what the page tells of connections. */
  hear(event: RtcEvent): void {
    this.#channels.hear(event);
  }

  /** From now on, whether new connections go through TURN servers only. */
  setRelayOnly(relayOnly: boolean): void {
    if (this.#relayOnly === relayOnly) return;
    this.#relayOnly = relayOnly;
    this.#useIceServers();
  }

  /** Leaves every swarm and closes every connection. */
  async end(): Promise<void> {
    this.input({ t: 'shutdown' });
    this.#drive.end();
    this.#http.cancelAll();
    await this.#channels.idle(GRACE);
    this.#link.close();
  }

  #useIceServers(): void {
    this.#channels.execute({ t: 'rtcIceServers', servers: this.#iceServers, relayOnly: this.#relayOnly });
  }

  /** `payload` holds until this returns: whoever needs it for longer copies it. */
  #execute(output: Output, payload: Bytes): void {
    switch (output.t) {
      case 'linkConnect':
        return this.#link.connect(output.front);
      case 'linkSend':
        return this.#link.send(new TextDecoder().decode(payload));
      case 'rtcIceServers':
        this.#iceServers = output.servers;
        return this.#useIceServers();
      case 'rtcSend':
        return this.#channels.send(output.conn, payload);
      case 'rtcOffer':
      case 'rtcAccept':
      case 'rtcSetAnswer':
      case 'rtcCandidate':
      case 'rtcClose':
        return this.#channels.execute(output);
      case 'diskRead':
        this.#surroundings.served(output.infoHash, output.length);
        void this.#disk.execute(output, payload);
        return;
      case 'diskPrepare':
      case 'diskReadLeaves':
      case 'diskHash':
      case 'diskWrite':
      case 'diskFinish':
        void this.#disk.execute(output, payload);
        return;
      case 'webRequest':
        return this.#http.request(output);
      case 'webCancel':
        return this.#http.cancel(output.id);
      case 'event':
        return this.#surroundings.hear(output.event, payload.slice());
    }
  }
}
