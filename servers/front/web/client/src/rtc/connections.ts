/**
 * The page's half of WebRTC: makes and ends peer connections as the engine's worker asks, because browsers have them on
 * the page only. It decides nothing. Each connection has one data channel, which moves to the worker if the browser can
 * do that, so that what is shared never passes through the page's thread; otherwise it stays here.
 */

import { Channel } from './channel.ts';
import { MAX_CANDIDATES, checkDescription } from './description.ts';
import type { RtcCommand, RtcEvent } from './messages.ts';

/** The one data channel of a connection. */
const LABEL = 'kollator';
/** Longest wait for STUN and TURN servers before a side describes itself with the candidates it has. */
const GATHERING = 2000;

/** Sends an event to the worker. */
export type Tell = (event: RtcEvent, transfer: Transferable[]) => void;

interface Connection {
  pc: RTCPeerConnection;
  /** Candidates taken so far. */
  candidates: number;
  /** The channel, if it stayed here. */
  channel?: Channel;
  hasChannel: boolean;
  /** Ends once what was asked of it before is done: the browser takes one step at a time. */
  steps: Promise<void>;
}

/** See the module's documentation. */
export class Connections {
  #tell: Tell;
  #connections = new Map<number, Connection>();
  #configuration: RTCConfiguration = {};

  constructor(tell: Tell) {
    this.#tell = tell;
  }

  /** Begins to carry out `command` and returns at once. One for an unknown connection is answered with silence. */
  execute(command: RtcCommand): void {
    switch (command.t) {
      case 'rtcIceServers':
        this.#configuration = configuration(command.servers, command.relayOnly);
        break;
      case 'rtcOffer':
        this.#begin(command.conn, undefined);
        break;
      case 'rtcAccept':
        this.#begin(command.conn, command.sdp);
        break;
      case 'rtcSetAnswer':
        this.#step(command.conn, 'the answer cannot be used', async (connection) => {
          connection.candidates += checkDescription(command.sdp);
          await connection.pc.setRemoteDescription({ type: 'answer', sdp: command.sdp });
        });
        break;
      case 'rtcCandidate':
        this.#candidate(command.conn, command.candidate);
        break;
      case 'rtcSend':
        this.#connections.get(command.conn)?.channel?.send(new Uint8Array(command.data));
        break;
      case 'rtcClose':
        void this.#close(command.conn, command.flush);
        break;
    }
  }

  /** Ends every connection. */
  closeAll(): void {
    for (const conn of [...this.#connections.keys()]) void this.#close(conn, false);
  }

  #begin(conn: number, offer: string | undefined): void {
    let pc: RTCPeerConnection;
    try {
      pc = new RTCPeerConnection(this.#configuration);
    } catch (error) {
      this.#tell({ t: 'rtcClosed', conn, reason: `cannot make a connection: ${wordsOf(error)}` }, []);
      return;
    }
    this.#connections.set(conn, { pc, candidates: 0, hasChannel: false, steps: Promise.resolve() });
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === 'failed') this.#lost(conn, 'no path to the other side works');
      if (pc.connectionState === 'closed') this.#lost(conn, 'the other side closed the connection');
    };
    pc.ondatachannel = ({ channel }) => this.#take(conn, channel);
    this.#step(conn, 'cannot describe the connection', async (connection) => {
      if (offer === undefined) {
        this.#take(conn, pc.createDataChannel(LABEL));
      } else {
        connection.candidates = checkDescription(offer);
        await pc.setRemoteDescription({ type: 'offer', sdp: offer });
      }
      await pc.setLocalDescription();
      await gathered(pc);
      this.#tell({ t: 'rtcDescribed', conn, sdp: pc.localDescription?.sdp ?? '' }, []);
    });
  }

  /**
   * Moves a channel to the worker, at once: later the browser refuses to. One that the other side opened is open already;
   * Chromium moves it too, but closes it when it arrives, so it stays.
   */
  #take(conn: number, channel: RTCDataChannel): void {
    const connection = this.#connections.get(conn);
    // The other side may open channels as it likes; the first counts.
    if (!connection || connection.hasChannel) return channel.close();
    connection.hasChannel = true;
    const { label, ordered, maxPacketLifeTime, maxRetransmits } = channel;
    if (label !== LABEL || !ordered || maxPacketLifeTime !== null || maxRetransmits !== null) {
      this.#lost(conn, `the data channel must be ordered, reliable and labelled "${LABEL}"`);
      return;
    }
    if (channel.readyState === 'connecting' && this.#moves(conn, channel)) return;
    connection.channel = new Channel(channel, {
      open: () => this.#tell({ t: 'rtcOpen', conn }, []),
      message: (data) => this.#tell({ t: 'rtcMessage', conn, data }, [data]),
      sent: (bytes) => this.#tell({ t: 'rtcSent', conn, bytes }, []),
      closed: (reason) => this.#lost(conn, reason),
    });
  }

  /** Whether the browser lets a channel move to the worker. */
  #moves(conn: number, channel: RTCDataChannel): boolean {
    try {
      this.#tell({ t: 'rtcChannel', conn, channel }, [channel as unknown as Transferable]);
      return true;
    } catch {
      return false;
    }
  }

  #candidate(conn: number, candidate: string): void {
    // An empty one says that there are no more.
    if (candidate === '') return;
    this.#step(conn, 'a candidate cannot be used', async (connection) => {
      connection.candidates += 1;
      if (connection.candidates > MAX_CANDIDATES) throw new Error(`there are more than ${MAX_CANDIDATES}`);
      await connection.pc.addIceCandidate({ candidate, sdpMLineIndex: 0 });
    });
  }

  /** Does `work` after what was asked of the connection before; the connection is lost if that fails. */
  #step(conn: number, failing: string, work: (connection: Connection) => Promise<void>): void {
    const connection = this.#connections.get(conn);
    if (!connection) return;
    connection.steps = connection.steps.then(async () => {
      if (this.#connections.get(conn) !== connection) return;
      try {
        await work(connection);
      } catch (error) {
        this.#lost(conn, `${failing}: ${wordsOf(error)}`);
      }
    });
  }

  #lost(conn: number, reason: string): void {
    const connection = this.#connections.get(conn);
    if (!connection) return;
    void this.#close(conn, false);
    this.#tell({ t: 'rtcClosed', conn, reason }, []);
  }

  async #close(conn: number, flush: boolean): Promise<void> {
    const connection = this.#connections.get(conn);
    if (!connection) return;
    this.#connections.delete(conn);
    await connection.channel?.close(flush);
    connection.pc.close();
  }
}

function configuration(servers: Array<{ urls: string[]; username?: string; credential?: string }>, relayOnly: boolean): RTCConfiguration {
  // One that the browser does not take would make every connection fail.
  const iceServers = servers.filter((server) => {
    try {
      new RTCPeerConnection({ iceServers: [server] }).close();
      return true;
    } catch {
      return false;
    }
  });
  return { iceServers, iceTransportPolicy: relayOnly ? 'relay' : 'all' };
}

/** Waits until all candidates are there, or until that takes too long. */
function gathered(pc: RTCPeerConnection): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHERING);
    const check = (): void => {
      if (pc.iceGatheringState !== 'complete') return;
      clearTimeout(timer);
      resolve();
    };
    pc.addEventListener('icegatheringstatechange', check);
    check();
  });
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
