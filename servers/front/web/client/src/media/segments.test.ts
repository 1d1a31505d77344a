/** Films taken apart and packed anew: made-up frames, which nobody decodes here. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  BufferSource,
  BufferTarget,
  EncodedAudioPacketSource,
  EncodedPacket,
  EncodedPacketSink,
  EncodedVideoPacketSource,
  Input,
  MP4,
  Mp4OutputFormat,
  Output,
  WEBM,
  WebMOutputFormat,
} from 'mediabunny';
import { Media, type Segment } from './segments.ts';

/** Pictures a second, and seconds from one that stands for itself to the next. */
const RATE = 10;
const GROUP = 2;
const never = new AbortController().signal;

interface Film {
  bytes: Uint8Array<ArrayBuffer>;
  /** The first byte of each frame, which tells it from others, by its time in milliseconds. */
  pictures: Map<number, number>;
}

/** A film of so many seconds that begins at `begins`, with `size` bytes a picture. */
async function film(container: 'mp4' | 'webm', seconds: number, { begins = 0, size = 100, sound = true } = {}): Promise<Film> {
  const format = container === 'mp4' ? new Mp4OutputFormat({ fastStart: false }) : new WebMOutputFormat();
  const target = new BufferTarget();
  const output = new Output({ format, target });
  const video = new EncodedVideoPacketSource('vp9');
  const audio = new EncodedAudioPacketSource('opus');
  output.addVideoTrack(video);
  if (sound) output.addAudioTrack(audio);
  await output.start();
  const pictures = new Map<number, number>();
  for (let at = 0; at < seconds * RATE; at += 1) {
    const time = begins + at / RATE;
    const data = new Uint8Array(size).fill(at % 251);
    pictures.set(Math.round((time - begins) * 1000), data[0]!);
    const kind = at % (GROUP * RATE) === 0 ? 'key' : 'delta';
    await video.add(new EncodedPacket(data, kind, time, 1 / RATE), { decoderConfig: { codec: 'vp09.00.10.08', codedWidth: 64, codedHeight: 64 } });
    if (!sound) continue;
    await audio.add(new EncodedPacket(new Uint8Array(20), 'key', time, 1 / RATE), { decoderConfig: { codec: 'opus', numberOfChannels: 1, sampleRate: 48_000 } });
  }
  await output.finalize();
  return { bytes: new Uint8Array(target.buffer!), pictures };
}

/** Those bytes, and how many of them were read. */
function bytesOf(bytes: Uint8Array<ArrayBuffer>): { length: number; read: (offset: number, length: number) => Promise<Uint8Array<ArrayBuffer>>; total: number } {
  return {
    length: bytes.length,
    total: 0,
    async read(offset, length) {
      this.total += length;
      return bytes.slice(offset, offset + length);
    },
  };
}

/** All frames of segments, read as a browser would. */
async function framesOf(segments: Segment[], container: 'mp4' | 'webm'): Promise<Map<number, number>> {
  const whole = Buffer.concat([segments[0]!.header, ...segments.map(({ media }) => media)]);
  const input = new Input({ source: new BufferSource(whole), formats: [container === 'mp4' ? MP4 : WEBM] });
  const track = (await input.getVideoTracks())[0]!;
  const frames = new Map<number, number>();
  for await (const { timestamp, data } of new EncodedPacketSink(track).packets()) frames.set(Math.round(timestamp * 1000), data[0]!);
  input.dispose();
  return frames;
}

for (const from of ['mp4', 'webm'] as const) {
  for (const to of ['mp4', 'webm'] as const) {
    test(`a film in ${from}, packed as ${to}, has the same pictures at the same times, a group at a time`, async () => {
      const { bytes, pictures } = await film(from, 9, { begins: 5 });
      const source = bytesOf(bytes);
      const media = await Media.open({ length: source.length, read: source.read.bind(source) }, (type) => type.includes(to), never);
      assert.deepEqual(media.tracks.map(({ type }) => type), [`video/${to}; codecs="vp09.00.10.08"`, `audio/${to}; codecs="opus"`]);
      assert.ok(Math.abs(media.duration - 9) < 0.01, String(media.duration));
      const video = media.tracks[0]!;
      assert.equal(await video.seek(0), 0);
      const segments: Segment[] = [];
      for (let one = await video.next(); one; one = await video.next()) segments.push(one);
      assert.deepEqual(segments.map(({ from }) => Math.round(from)), [0, 2, 4, 6, 8]);
      assert.deepEqual(segments.map(({ until }) => Math.round(until)), [2, 4, 6, 8, 9]);
      assert.deepEqual(await framesOf(segments, to), pictures);
      assert.equal(await video.next(), undefined);

      assert.ok(Math.abs((await video.seek(5.3)) - 4) < 0.01, 'decoding begins at a picture that stands for itself');
      assert.ok(Math.abs((await video.next())!.until - 6) < 0.01);
      media.close();
    });
  }
}

test('only what is played is read, wherever that is said to be', async () => {
  for (const container of ['mp4', 'webm'] as const) {
    const { bytes } = await film(container, 100, { size: 20_000, sound: false });
    const source = bytesOf(bytes);
    const media = await Media.open({ length: source.length, read: source.read.bind(source) }, () => true, never);
    const video = media.tracks[0]!;
    for (const time of [0, 80]) {
      await video.seek(time);
      await video.next();
    }
    const group = GROUP * RATE * 20_000;
    assert.ok(source.total < 2 * group + 2_000_000, `${container}: ${source.total} bytes were read for ${2 * group}`);
    assert.ok(source.total < bytes.length / 4);
    media.close();
  }
});

test('a reading that is given up fails, and the next goes on', async () => {
  const { bytes } = await film('webm', 100, { size: 20_000, sound: false });
  let hold = false;
  const read = async (offset: number, length: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> => {
    if (hold) await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    return bytes.slice(offset, offset + length);
  };
  const media = await Media.open({ length: bytes.length, read }, () => true, never);
  const video = media.tracks[0]!;
  await video.seek(0);
  await video.next();
  hold = true;
  const far = video.seek(90);
  setTimeout(() => media.giveUp(), 10);
  await assert.rejects(far, { name: 'AbortError' });
  hold = false;
  assert.equal(Math.round(await video.seek(90)), 90);
  assert.equal(Math.round((await video.next())!.until), 92);
  media.close();
});

test('what cannot be played is said in words', async () => {
  const open = (bytes: Uint8Array<ArrayBuffer>, plays = true): Promise<Media> => {
    const source = bytesOf(bytes);
    return Media.open({ length: source.length, read: source.read.bind(source) }, () => plays, never);
  };
  const { bytes } = await film('webm', 4, { sound: false });
  await assert.rejects(open(bytes, false), { code: 'unplayable', message: /pictures \(vp09\.00\.10\.08\)/ });
  await assert.rejects(open(new Uint8Array(5000)), { code: 'unplayable', message: /of a kind/ });
});

test('a file that has to be read in one piece is refused before that', async () => {
  const { bytes } = await film('webm', 4, { sound: false });
  const cluster = Buffer.from(bytes).indexOf(Buffer.from('1f43b675', 'hex'));
  // The same, but for its first cluster, which says that it has 1 GiB.
  const head = Buffer.concat([bytes.subarray(0, cluster), Buffer.from('1f43b675' + '0100000040000000' + 'e78100', 'hex')]);
  const read = async (offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> => {
    const part = new Uint8Array(length);
    part.set(head.subarray(offset, offset + length));
    return part;
  };
  await assert.rejects(
    async () => {
      const media = await Media.open({ length: 2 ** 31, read }, () => true, never);
      await media.tracks[0]!.seek(0);
    },
    { code: 'unplayable', message: /67.1 MB at a time/ },
  );
});
