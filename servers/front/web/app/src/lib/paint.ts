/**
 * How chunks look, on the map and in its legend alike: an ink and a pattern for each source, so that they can be told
 * apart without seeing colours. Inks come from the style sheet.
 */

import type { Cell, LegendEntry } from './chunks.ts';

/** Colours and patterns of the theme at hand, ready for a canvas. */
export interface Inks {
  missing: string;
  here: string;
  http: string;
  worker: string;
  peers: string[];
  patterns: CanvasPattern[];
}

const PEERS = 6;
const TILE = 6;

/** What a pattern leaves free, as paths on a tile of 6 by 6: slash, dots, backslash, rows, columns, checks, lattice. */
const PATTERNS = [
  'M-1 5L5 -1M1 7L7 1',
  'M1.5 1.5h.01M4.5 4.5h.01',
  'M-1 1L5 7M1 -1L7 5',
  'M0 3h6',
  'M3 0v6',
  'M0 1.5h3M3 4.5h3',
  'M-1 5L5 -1M1 7L7 1M-1 1L5 7M1 -1L7 5',
];
const LATTICE = PATTERNS.length - 1;

let last: { theme: string; scale: number; inks: Inks } | undefined;

/** The inks of `theme`, read where `element` is if they are not at hand. `scale` is the canvas's pixels for each CSS pixel. */
export function inksAt(element: Element, theme: string, scale: number): Inks {
  if (last?.theme !== theme || last.scale !== scale) last = { theme, scale, inks: readInks(element, scale) };
  return last.inks;
}

function readInks(element: Element, scale: number): Inks {
  const style = getComputedStyle(element);
  const ink = (name: string): string => style.getPropertyValue(`--ink-${name}`).trim();
  const gap = ink('pattern');
  return {
    missing: ink('missing'),
    here: ink('here'),
    http: ink('http'),
    worker: ink('worker'),
    peers: Array.from({ length: PEERS }, (_, nth) => ink(`peer-${nth}`)),
    patterns: PATTERNS.map((path) => patternOf(path, gap, scale)),
  };
}

function patternOf(path: string, gap: string, scale: number): CanvasPattern {
  const tile = new OffscreenCanvas(Math.round(TILE * scale), Math.round(TILE * scale));
  const context = tile.getContext('2d');
  const pattern = context?.createPattern(draw(context, path, gap, scale), 'repeat');
  if (!pattern) throw new Error('this browser cannot draw patterns');
  return pattern;
}

function draw(context: OffscreenCanvasRenderingContext2D, path: string, gap: string, scale: number): OffscreenCanvas {
  context.scale(scale, scale);
  context.strokeStyle = gap;
  context.lineWidth = 1.5;
  context.lineCap = path.includes('h.01') ? 'round' : 'butt';
  if (context.lineCap === 'round') context.lineWidth = 2;
  context.stroke(new Path2D(path));
  return context.canvas;
}

/** Fills a rectangle as chunks of a source look. Coordinates are in the canvas's pixels. */
export function paintSource(
  context: CanvasRenderingContext2D,
  inks: Inks,
  entry: Pick<LegendEntry, 'kind' | 'nth'> | undefined,
  [x, y, width, height]: [number, number, number, number],
): void {
  if (entry === undefined || entry.kind === 'disk') {
    context.fillStyle = inks.here;
    context.fillRect(x, y, width, height);
    return;
  }
  context.fillStyle =
    entry.kind === 'worker' ? inks.worker : entry.kind === 'http' ? inks.http : (inks.peers[entry.nth % PEERS] ?? inks.here);
  context.fillRect(x, y, width, height);
  const pattern = patternFor(entry);
  if (pattern === undefined) return;
  context.fillStyle = inks.patterns[pattern] ?? context.fillStyle;
  context.fillRect(x, y, width, height);
}

/** The first worker is plain; every other source has a pattern. Peers beyond the sixth repeat an ink with another pattern. */
function patternFor({ kind, nth }: Pick<LegendEntry, 'kind' | 'nth'>): number | undefined {
  if (kind === 'http') return LATTICE;
  if (kind === 'worker') return nth === 0 ? undefined : (nth - 1) % LATTICE;
  return (nth + Math.floor(nth / PEERS)) % LATTICE;
}

/** Paints a cell of the map: what is missing as bare paper, beside what is here, layer by layer. */
export function paintCell(
  context: CanvasRenderingContext2D,
  inks: Inks,
  entries: ReadonlyMap<number, LegendEntry>,
  cell: Cell,
  [x, y, width, height]: [number, number, number, number],
  /** How much of what is here to show, 0 to 1: it grows when it arrives. */
  shown: number,
  /** The source to stand out, if one is. */
  chosen: number | undefined,
): void {
  context.fillStyle = inks.missing;
  context.fillRect(x, y, width, height);
  // Square cells fill from below as a glass does, long ones from the left as a bar does.
  const long = width > 2 * height;
  const whole = long ? width : height;
  let done = 0;
  for (const [index, part] of cell.parts) {
    const length = Math.min(whole - done, Math.max(1, Math.round(part * shown * whole)));
    context.globalAlpha = chosen === undefined || chosen === index ? 1 : 0.16;
    const entry = entries.get(index);
    paintSource(context, inks, entry, long ? [x + done, y, length, height] : [x, y + height - done - length, width, length]);
    if (entry?.kind === 'disk' && length >= whole - 1) hollow(context, inks, [x, y, width, height]);
    done += length;
  }
  context.globalAlpha = 1;
}

/** What was here before is an outline: the one mark that cannot be taken for a pattern of another source. */
export function hollow(context: CanvasRenderingContext2D, inks: Inks, [x, y, width, height]: [number, number, number, number]): void {
  const rim = Math.max(2, Math.round(Math.min(width, height) * 0.2));
  context.fillStyle = inks.missing;
  context.fillRect(x + rim, y + rim, width - 2 * rim, height - 2 * rim);
}
