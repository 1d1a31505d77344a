/**
 * The worker's half of WebRTC: passes the machine's commands to the page, and keeps the data channels that the browser
 * let move here. Whether a channel moved or stayed with the page makes no difference to the machine.
 */

import type { Input } from '../machine-types.ts';
import { Channel } from '../rtc/channel.ts';
import type { RtcCommand, RtcEvent } from '../rtc/messages.ts';

/** What the machine hears of its connections. */
export type ChannelInput = Extract<Input, { t: `rtc${string}` }>;

/** See the module's documentation. */
export class Channels {
  #tellPage: (command: RtcCommand, transfer: Transferable[]) => void;
  #input: (input: ChannelInput, payload?: Uint8Array) => void;
  /** Connections that the machine has not closed; the value is the channel, if it is here. */
  #open = new Map<number, Channel | undefined>();
  #closing = new Set<Promise<void>>();

  constructor(
    tellPage: (command: RtcCommand, transfer: Transferable[]) => void,
    input: (input: ChannelInput, payload?: Uint8Array) => void,
  ) {
    this.#tellPage = tellPage;
    this.#input = input;
  }

  /** Carries out a command of the machine. */
  execute(command: Exclude<RtcCommand, { t: 'rtcSend' }>): void {
    if (command.t === 'rtcOffer' || command.t === 'rtcAccept') this.#open.set(command.conn, undefined);
    if (command.t !== 'rtcClose') return this.#tellPage(command, []);
    const closing = this.#close(command.conn, command.flush);
    this.#closing.add(closing);
    void closing.finally(() => this.#closing.delete(closing));
  }

  /** Sends a message. `data` may change once this returns. */
  send(conn: number, data: Uint8Array<ArrayBuffer>): void {
    const channel = this.#open.get(conn);
    if (channel) return channel.send(data);
    if (!this.#open.has(conn)) return;
    const { buffer } = data.slice();
    this.#tellPage({ t: 'rtcSend', conn, data: buffer }, [buffer]);
  }

  /** Takes what the page tells. Nothing of a closed connection reaches the machine. */
  hear(event: RtcEvent): void {
    const { conn } = event;
    if (!this.#open.has(conn)) {
      if (event.t === 'rtcChannel') event.channel.close();
      return;
    }
    if (event.t === 'rtcChannel') {
      const channel = new Channel(event.channel, {
        open: () => this.#input({ t: 'rtcOpen', conn }),
        message: (data) => this.#input({ t: 'rtcMessage', conn }, new Uint8Array(data)),
        sent: (bytes) => this.#input({ t: 'rtcSent', conn, bytes }),
        closed: (reason) => {
          this.#tellPage({ t: 'rtcClose', conn, flush: false }, []);
          this.#lost(conn, reason);
        },
      });
      this.#open.set(conn, channel);
    } else if (event.t === 'rtcMessage') {
      this.#input({ t: 'rtcMessage', conn }, new Uint8Array(event.data));
    } else if (event.t === 'rtcClosed') {
      this.#lost(conn, event.reason);
    } else {
      this.#input(event);
    }
  }

  /** Waits until every channel that the machine closed has sent what was queued, but no longer than `most` milliseconds. */
  async idle(most: number): Promise<void> {
    const late = new Promise((resolve) => setTimeout(resolve, most));
    await Promise.race([Promise.all(this.#closing), late]);
  }

  #lost(conn: number, reason: string): void {
    const channel = this.#open.get(conn);
    if (!this.#open.delete(conn)) return;
    void channel?.close(false);
    this.#input({ t: 'rtcClosed', conn, reason });
  }

  async #close(conn: number, flush: boolean): Promise<void> {
    const channel = this.#open.get(conn);
    if (!this.#open.delete(conn)) return;
    await channel?.close(flush);
    // The page flushes a channel that it kept; here it is done already.
    this.#tellPage({ t: 'rtcClose', conn, flush: flush && !channel }, []);
  }
}
