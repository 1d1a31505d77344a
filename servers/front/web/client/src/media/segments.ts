/**
 * A film or sound file as segments for Media Source Extensions: takes the file's frames out of whatever container they
 * are in, reading only where they are, and packs them anew, one picture group or a few seconds of sound at a time, as
 * the fragmented MP4 or WebM that browsers take. It decodes nothing, and keeps nothing of a segment that it gave out.
 *
 * Only a worker of its own imports this: the library that it brings with it is large, and what it reads is not trusted.
 */

import {
  ADTS,
  CustomSource,
  EncodedAudioPacketSource,
  type EncodedPacket,
  EncodedPacketSink,
  EncodedVideoPacketSource,
  FLAC,
  Input,
  type InputAudioTrack,
  type InputVideoTrack,
  MATROSKA,
  MP3,
  MP4,
  Mp4OutputFormat,
  NullTarget,
  OGG,
  Output,
  QTFF,
  WEBM,
  WebMOutputFormat,
} from 'mediabunny';
import { type ReadPart, streamOf } from '../stream.ts';
import { inWords } from '../words.ts';
import { unplayable } from './unplayable.ts';

/** A file's bytes, wherever they are. */
export interface MediaBytes {
  length: number;
  read: ReadPart;
}

/** Some frames of a track, ready for a source buffer. Times are seconds from the beginning of the file's playing. */
export interface Segment {
  /** What a source buffer has to be given before the first segment. */
  header: Bytes;
  media: Bytes;
  from: number;
  until: number;
}

type Bytes = Uint8Array<ArrayBuffer>;
type Track = InputVideoTrack | InputAudioTrack;
/** `mpeg` is none at all: one frame after the other, without times. */
type Container = 'mp4' | 'webm' | 'mpeg';

const FORMATS = [MP4, QTFF, MATROSKA, WEBM, OGG, FLAC, MP3, ADTS];
/** Which containers a codec may be packed in, the better one first. */
const CONTAINERS: Record<string, Container[]> = {
  avc: ['mp4'],
  hevc: ['mp4'],
  vp8: ['webm'],
  vp9: ['webm', 'mp4'],
  av1: ['webm', 'mp4'],
  aac: ['mp4'],
  flac: ['mp4'],
  mp3: ['mp4', 'mpeg'],
  opus: ['webm', 'mp4'],
  vorbis: ['webm'],
};
/** Seconds of sound in a segment. */
const SOUND = 2;
/** Most bytes of what has to be read at a time, such as a group of pictures: they are held in memory. */
const MOST = 64 << 20;
/** Most bytes that were read and may be wanted again. */
const CACHE = 8 << 20;

/** A film or sound file that browsers can play. */
export class Media {
  /** Seconds; infinite if the file does not say. */
  readonly duration: number;
  readonly tracks: readonly MediaTrack[];
  #input: Input;
  #reads: Reads;

  private constructor(input: Input, reads: Reads, duration: number, tracks: MediaTrack[]) {
    this.#input = input;
    this.#reads = reads;
    this.duration = duration;
    this.tracks = tracks;
  }

  /**
   * Reads what kind of file it is. `plays` says whether source buffers take a type. Fails with `unplayable`
   * if they take none that this file can be packed as. `signal` ends all reading for good.
   */
  static async open(bytes: MediaBytes, plays: (type: string) => Promise<boolean> | boolean, signal: AbortSignal): Promise<Media> {
    const reads = new Reads(signal);
    const source = new CustomSource({
      getSize: () => bytes.length,
      read: (start, end) => {
        if (end - start > MOST) throw tooLarge();
        return streamOf(bytes.read, start, end, reads.signal);
      },
      maxCacheSize: CACHE,
      // Frames are small: without this each would be a reading of its own.
      prefetchProfile: 'fileSystem',
      // What was read ahead of need and failed is read again once it is needed.
      handleUnhandledError: () => undefined,
    });
    const input = new Input({ source, formats: FORMATS });
    try {
      if (!(await input.canRead())) throw unplayable('It is of a kind that cannot be played while it comes in.');
      const [video, audio] = [(await input.getVideoTracks())[0], (await input.getAudioTracks())[0]];
      const chosen = [video, audio].filter((track) => track !== undefined);
      if (chosen.length === 0) throw unplayable('There is neither film nor sound in it.');
      const begins = await input.getFirstTimestamp(chosen);
      const ends = await durationOf(input, chosen);
      const tracks = await Promise.all(chosen.map((track) => MediaTrack.open(track, begins, plays)));
      return new Media(input, reads, ends - begins, tracks);
    } catch (error) {
      input.dispose();
      throw error;
    }
  }

  /** Has whatever is being read fail, so that another place can be read. */
  giveUp(): void {
    this.#reads.giveUp();
  }

  close(): void {
    this.#reads.giveUp();
    this.#input.dispose();
  }
}

/** Its pictures, or its sound. */
export class MediaTrack {
  /** The type of its segments, for a source buffer. */
  readonly type: string;
  #track: Track;
  #sink: EncodedPacketSink;
  #begins: number;
  #container: Container;
  /** The first frame of the next segment; none at the end. */
  #next: EncodedPacket | null = null;

  private constructor(track: Track, begins: number, container: Container, type: string) {
    this.#track = track;
    this.#sink = new EncodedPacketSink(track);
    this.#begins = begins;
    this.#container = container;
    this.type = type;
  }

  static async open(track: Track, begins: number, plays: (type: string) => Promise<boolean> | boolean): Promise<MediaTrack> {
    const codec = await track.getCodec();
    const name = await track.getCodecParameterString();
    for (const container of CONTAINERS[codec ?? ''] ?? []) {
      const type = container === 'mpeg' ? 'audio/mpeg' : `${track.type}/${container}; codecs="${name}"`;
      if (await plays(type)) return new MediaTrack(track, begins, container, type);
    }
    const what = track.isVideoTrack() ? 'Its pictures' : 'Its sound';
    throw unplayable(`${what} (${name ?? codec ?? 'of an unknown kind'}) cannot be played in this browser.`);
  }

  /** Goes to where decoding has to begin for this time; the place. At the end, there is no segment any more. */
  async seek(time: number): Promise<number> {
    const at = time + this.#begins;
    const video = this.#track.isVideoTrack();
    const packet = video ? await this.#sink.getKeyPacket(at) : await this.#sink.getPacket(at);
    this.#next = packet ?? (await this.#sink.getFirstKeyPacket());
    return this.#next ? this.#time(this.#next) : time;
  }

  /** The next segment; none at the end. What fails can be asked again. */
  async next(): Promise<Segment | undefined> {
    const first = this.#next;
    if (!first) return undefined;
    const packets = [first];
    let size = first.byteLength;
    let packet = await this.#sink.getNextPacket(first);
    while (packet && !this.#ends(first, packet)) {
      packets.push(packet);
      size += packet.byteLength;
      if (size > MOST) throw tooLarge();
      packet = await this.#sink.getNextPacket(packet);
    }
    this.#next = packet;
    return this.#pack(packets, packet);
  }

  /** Whether `packet` begins another segment than `first` did. */
  #ends(first: EncodedPacket, packet: EncodedPacket): boolean {
    return packet.type === 'key' && (this.#track.isVideoTrack() || packet.timestamp >= first.timestamp + SOUND);
  }

  async #pack(packets: EncodedPacket[], following: EncodedPacket | null): Promise<Segment> {
    const times = packets.map((packet) => this.#time(packet));
    const [from, last] = [times[0]!, Math.max(...times)];
    const timed = packets.map((packet, at) => {
      const timestamp = times[at]!;
      // The last picture of a group often lacks what follows it to tell how long it is seen.
      const gap = timestamp === last && packet.duration === 0 && following ? this.#time(following) - last : 0;
      return packet.clone({ timestamp, duration: Math.max(gap, packet.duration) });
    });
    const until = timed.reduce((most, { timestamp, duration }) => Math.max(most, timestamp + duration), last);
    if (this.#container === 'mpeg') return { header: new Uint8Array(), media: joined(timed.map(({ data }) => data)), from, until };
    return { ...(await packed(this.#container, this.#track, timed)), from, until };
  }

  #time(packet: EncodedPacket): number {
    return packet.timestamp - this.#begins;
  }
}

/** Frames in a container: what comes before all of them, and they themselves. */
async function packed(container: 'mp4' | 'webm', track: Track, packets: EncodedPacket[]): Promise<{ header: Bytes; media: Bytes }> {
  const [headers, media]: [Uint8Array[], Uint8Array[]] = [[], []];
  const onHeader = (data: Uint8Array): unknown => headers.push(data);
  const onMedia = (data: Uint8Array): unknown => media.push(data);
  const format =
    container === 'mp4'
      ? new Mp4OutputFormat({ fastStart: 'fragmented', onFtyp: onHeader, onMoov: onHeader, onMoof: onMedia, onMdat: onMedia })
      : new WebMOutputFormat({ appendOnly: true, onEbmlHeader: onHeader, onSegmentHeader: onHeader, onCluster: onMedia });
  const output = new Output({ format, target: new NullTarget() });
  const add = track.isVideoTrack() ? await addVideo(output, track) : await addAudio(output, track);
  await output.start();
  for (const packet of packets) await add(packet);
  await output.finalize();
  return { header: joined(headers), media: joined(media) };
}

type Add = (packet: EncodedPacket) => Promise<void>;

async function addVideo(output: Output, track: InputVideoTrack): Promise<Add> {
  const decoderConfig = (await track.getDecoderConfig())!;
  const source = new EncodedVideoPacketSource((await track.getCodec())!);
  output.addVideoTrack(source, output.format.supportsVideoTransformationMetadata ? { rotation: await track.getRotation() } : {});
  return (packet) => source.add(packet, { decoderConfig });
}

async function addAudio(output: Output, track: Exclude<Track, InputVideoTrack>): Promise<Add> {
  const decoderConfig = (await track.getDecoderConfig())!;
  const source = new EncodedAudioPacketSource((await track.getCodec())!);
  output.addAudioTrack(source);
  return (packet) => source.add(packet, { decoderConfig });
}

/** What stops the readings that are under way, and not those to come. */
class Reads {
  #forGood: AbortSignal;
  #stop = new AbortController();

  constructor(forGood: AbortSignal) {
    this.#forGood = forGood;
  }

  get signal(): AbortSignal {
    return AbortSignal.any([this.#forGood, this.#stop.signal]);
  }

  giveUp(): void {
    this.#stop.abort(new DOMException('another place is wanted', 'AbortError'));
    this.#stop = new AbortController();
  }
}

/** Where the file ends, in its own time. To find that out by reading all of it would take as long as that. */
async function durationOf(input: Input, tracks: Track[]): Promise<number> {
  const told = await input.getDurationFromMetadata(tracks);
  if (told !== null) return told;
  return (await input.getFormat()) === OGG ? input.computeDuration(tracks) : Infinity;
}

function joined(parts: Uint8Array[]): Bytes {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function tooLarge(): Error {
  return unplayable(`It has to be read more than ${inWords(MOST)} at a time, and cannot be played while it comes in.`);
}
