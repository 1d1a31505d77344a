/**
 * One data channel, on whichever thread it lives: sends messages, says when they are on their way, and hands over what
 * arrives. `sent` is told only while the browser's buffer has room, which is what keeps a machine from filling memory.
 */

/** What comes of a channel. */
export interface ChannelEvents {
  open(): void;
  message(data: ArrayBuffer): void;
  sent(bytes: number): void;
  /** It is over, and nothing else comes. */
  closed(reason: string): void;
}

/** Bytes in the browser's buffer up to which it counts as having room. */
const ROOM = 1 << 20;
/** Most bytes in it; machines keep far below. */
const MAX_QUEUED = 8 << 20;
/** How long what was queued before a close may take to leave. */
const FLUSH = 1000;

/** See the module's documentation. */
export class Channel {
  #channel: RTCDataChannel;
  #events: ChannelEvents | undefined;
  /** Bytes sent and not yet told of. */
  #unsaid = 0;

  constructor(channel: RTCDataChannel, events: ChannelEvents) {
    this.#channel = channel;
    this.#events = events;
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = ROOM / 2;
    channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (data instanceof ArrayBuffer) this.#events?.message(data);
      else this.#end('the other side sent text');
    };
    channel.onbufferedamountlow = () => this.#tellSent();
    channel.onclose = () => this.#end('the other side closed the data channel');
    channel.onerror = (event) => this.#end(`the data channel failed: ${wordsOf(event)}`);
    // It may have opened before it came to this thread.
    if (channel.readyState === 'open') queueMicrotask(() => this.#events?.open());
    else channel.onopen = () => this.#events?.open();
  }

  /** Sends a message. `data` may change once this returns. */
  send(data: Uint8Array<ArrayBuffer>): void {
    if (!this.#events) return;
    if (this.#channel.bufferedAmount + data.byteLength > MAX_QUEUED) {
      this.#end(`more than ${MAX_QUEUED} bytes wait to be sent`);
      return;
    }
    try {
      this.#channel.send(data);
    } catch (error) {
      this.#end(`a message cannot be sent: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    this.#unsaid += data.byteLength;
    if (this.#channel.bufferedAmount <= ROOM) this.#tellSent();
  }

  /** Closes it, with `flush` after what was sent has left. Nothing is heard of it any more. */
  async close(flush: boolean): Promise<void> {
    this.#events = undefined;
    const until = performance.now() + FLUSH;
    while (flush && this.#channel.readyState === 'open' && this.#channel.bufferedAmount > 0 && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    this.#channel.close();
  }

  #tellSent(): void {
    const bytes = this.#unsaid;
    this.#unsaid = 0;
    if (bytes > 0) this.#events?.sent(bytes);
  }

  #end(reason: string): void {
    const events = this.#events;
    this.#events = undefined;
    this.#channel.close();
    events?.closed(reason);
  }
}

function wordsOf(event: Event): string {
  const { error } = event as Partial<RTCErrorEvent>;
  return error?.message || 'no reason given';
}
