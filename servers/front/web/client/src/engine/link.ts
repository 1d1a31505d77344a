/**
 * The WebSocket to a front: carries text both ways and says when it is up or down. Which front, when to try again and
 * what the text means is the machine's business.
 */

import type { Input } from '../machine-types.ts';

/** What the machine hears of its front. */
export type LinkInput = Extract<Input, { t: `link${string}` }>;

/** Longest wait for a connection. */
const CONNECT_TIMEOUT = 5000;
/** Bytes waiting to be written before the link counts as stuck. */
const MAX_QUEUED = 4 << 20;
/** Most bytes in a message of a front. */
const MAX_MESSAGE = 64 << 10;

/** Where the WebSocket for clients of the front at `url` is. */
export function signalingUrl(url: string): string {
  const parsed = new URL(url);
  parsed.protocol = parsed.protocol === 'https:' || parsed.protocol === 'wss:' ? 'wss:' : 'ws:';
  return new URL('/signaling', parsed).href;
}

/** See the module's documentation. */
export class Link {
  #fronts: string[];
  #input: (input: LinkInput, payload?: Uint8Array) => void;
  #open: (url: string) => WebSocket;
  #socket: WebSocket | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    fronts: string[],
    input: (input: LinkInput, payload?: Uint8Array) => void,
    open: (url: string) => WebSocket = (url) => new WebSocket(url),
  ) {
    this.#fronts = fronts;
    this.#input = input;
    this.#open = open;
  }

  /** Connects to the front of this index, giving up any other connection. */
  connect(front: number): void {
    this.close();
    const url = this.#fronts[front] ?? '';
    let socket: WebSocket;
    try {
      socket = this.#open(signalingUrl(url));
    } catch (error) {
      // Not at once: the machine hears no answer before its command is carried out.
      this.#timer = setTimeout(() => this.#input({ t: 'linkDown', reason: `cannot connect to ${url}: ${String(error)}` }), 0);
      return;
    }
    this.#socket = socket;
    this.#timer = setTimeout(() => this.#down(socket, `${url} did not answer within ${CONNECT_TIMEOUT / 1000} s`), CONNECT_TIMEOUT);
    socket.onopen = () => {
      clearTimeout(this.#timer);
      if (this.#socket === socket) this.#input({ t: 'linkUp' });
    };
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (this.#socket !== socket) return;
      const text = typeof data === 'string' ? new TextEncoder().encode(data) : undefined;
      if (!text) this.#down(socket, 'the front sent binary data');
      else if (text.byteLength > MAX_MESSAGE) this.#down(socket, `the front sent a message of ${text.byteLength} bytes`);
      else this.#input({ t: 'linkMessage' }, text);
    };
    socket.onclose = ({ reason, wasClean }) => {
      const words = reason ? `the front closed: ${reason}` : wasClean ? 'the front closed' : `no connection to ${url}`;
      this.#down(socket, words);
    };
  }

  /** Sends a message on the connection that is up. */
  send(text: string): void {
    const socket = this.#socket;
    if (socket?.readyState !== 1) return;
    if (socket.bufferedAmount > MAX_QUEUED) this.#down(socket, 'the front does not read');
    else socket.send(text);
  }

  /** Gives the connection up. Nothing is heard of it any more. */
  close(): void {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }

  #down(socket: WebSocket, reason: string): void {
    if (this.#socket !== socket) return;
    this.close();
    this.#input({ t: 'linkDown', reason });
  }
}
