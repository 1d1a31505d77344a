/**
 * The arithmetic of the chunk map: how many cells fit, which chunks each stands for, how much of them is here and
 * from whom. Drawing is elsewhere. Work is linear in the number of chunks and the result is bounded by the cells.
 */

import type { ChunkMap, ShareState, Source } from '@kollator/client';

/** A grid of cells that fills its width. */
export interface Grid {
  columns: number;
  rows: number;
  /** Size of a cell, without the gap, in CSS pixels. Square but for the last pixels of the width, and where a few chunks share a row. */
  width: number;
  height: number;
  gap: number;
  /** Cells that stand for something; at most `columns * rows`. */
  cells: number;
}

/** What one cell stands for. */
export interface Cell {
  /** First chunk of it, and one past its last. */
  from: number;
  to: number;
  /** How much of it is here, 0 to 1. */
  filled: number;
  /** Who gave what is here: `[index as in a chunk map, part of the cell from 0 to 1]`, by index. */
  parts: Array<[number, number]>;
}

const LARGEST = 30;
const SMALLEST = 9;
const GAP = 3;

/** Lays out `chunks` in `width` pixels with at most `height`: cells as large as fit; below the smallest size, chunks share cells. */
export function layOut(chunks: number, width: number, height: number): Grid {
  const usable = Math.max(width, SMALLEST);
  const wanted = Math.max(1, chunks);
  const widest = Math.floor((usable + GAP) / (LARGEST + GAP));
  if (wanted <= widest) {
    return { columns: wanted, rows: 1, width: (usable + GAP) / wanted - GAP, height: LARGEST, gap: GAP, cells: wanted };
  }
  for (let cell = LARGEST; cell >= SMALLEST; cell -= 1) {
    const gap = cell >= 16 ? GAP : GAP - 1;
    const columns = Math.max(1, Math.floor((usable + gap) / (cell + gap)));
    const fitting = Math.max(1, Math.floor((height + gap) / (cell + gap)));
    const rows = Math.ceil(wanted / columns);
    const size = { columns, width: (usable + gap) / columns - gap, height: cell, gap };
    if (rows <= fitting) return { ...size, rows, cells: wanted };
    if (cell === SMALLEST) return { ...size, rows: fitting, cells: columns * fitting };
  }
  throw new RangeError('unreachable: the loop ends at the smallest cell');
}

/** Sums chunks up in `cells` cells of nearly equal length, in order. More cells than chunks give one cell for each chunk. */
export function binned(map: ChunkMap, cells: number): Cell[] {
  const chunks = map.pieces.length;
  const length = Math.min(cells, chunks);
  const result: Cell[] = [];
  for (let at = 0; at < length; at += 1) {
    const from = Math.floor((at * chunks) / length);
    const to = Math.floor(((at + 1) * chunks) / length);
    const sums = new Map<number, number>();
    let filled = 0;
    for (let piece = from; piece < to; piece += 1) {
      const here = (map.filled[piece] ?? 0) / 255;
      const source = map.pieces[piece] ?? 0;
      if (here === 0 || source === 0) continue;
      filled += here;
      sums.set(source, (sums.get(source) ?? 0) + here);
    }
    const span = to - from;
    const parts = [...sums].sort((left, right) => left[0] - right[0]).map(([source, sum]): [number, number] => [source, sum / span]);
    result.push({ from, to, filled: filled / span, parts });
  }
  return result;
}

/** The cell at a point of the grid, if there is one. */
export function cellAt(grid: Grid, x: number, y: number): number | undefined {
  const column = Math.floor(x / (grid.width + grid.gap));
  const row = Math.floor(y / (grid.height + grid.gap));
  if (x < 0 || y < 0 || column >= grid.columns || row >= grid.rows) return undefined;
  const index = row * grid.columns + column;
  return index < grid.cells ? index : undefined;
}

/** An entry of the legend: who gave how much, and how its cells are painted. */
export interface LegendEntry {
  /** Index as in a chunk map: 1 for what was here already. */
  index: number;
  label: string;
  kind: 'disk' | 'worker' | 'peer' | 'http';
  /** Which of the peers it is, from 0: tells their colours and patterns apart. */
  nth: number;
  bytes: number;
  speed: number;
  connected: boolean;
  /** What it did wrong, if it was cut off for it. */
  offence?: string;
}

/**
 * The legend of a share: what was here, then whoever gave, in the order they came, so that nobody who comes moves those
 * who are there. Those of one kind are numbered if there are several.
 */
export function legendOf(share: Pick<ShareState, 'from' | 'sources' | 'role'>): LegendEntry[] {
  const entries: LegendEntry[] = [];
  // What an earlier visit left is found bit by bit: its place is kept from the beginning.
  if (share.from.disk > 0 || share.role === 'received') {
    entries.push({ index: 1, label: 'This device', kind: 'disk', nth: 0, bytes: share.from.disk, speed: 0, connected: true });
  }
  const names = { worker: 'Worker', peer: 'Peer', http: 'Web' } as const;
  for (const kind of ['worker', 'peer', 'http'] as const) {
    const ofKind = share.sources.filter((source) => source.kind === kind).sort((left, right) => left.index - right.index);
    for (const [nth, source] of ofKind.entries()) {
      if (!worthShowing(source)) continue;
      const label = kind !== 'peer' && ofKind.length === 1 ? names[kind] : `${names[kind]} ${nth + 1}`;
      entries.push({
        index: source.index,
        label,
        kind,
        nth,
        bytes: source.bytes,
        speed: source.speed,
        connected: source.connected,
        ...(source.offence === undefined ? {} : { offence: source.offence }),
      });
    }
  }
  return entries.sort((left, right) => left.index - right.index);
}

function worthShowing(source: Source): boolean {
  return source.connected || source.bytes > 0 || source.offence !== undefined;
}

/** A chunk map in a sentence, for whoever cannot see it. */
export function described(map: ChunkMap, legend: LegendEntry[]): string {
  let whole = 0;
  for (const filled of map.filled) if (filled === 255) whole += 1;
  const given = legend.reduce((sum, entry) => sum + entry.bytes, 0);
  const from = legend
    .filter((entry) => entry.bytes > 0)
    .map((entry) => `${Math.round((entry.bytes / given) * 100)}% from ${entry.label.toLowerCase()}`)
    .join(', ');
  return `${whole} of ${map.pieces.length} chunks are here${from === '' ? '' : `: ${from}`}.`;
}
