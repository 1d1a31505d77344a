/** Which files the page can play or show, told by their names: a file's content is never looked at for this. */

const VIDEO = new Set(['mp4', 'm4v', 'webm', 'ogv', 'mov', 'mkv']);
const AUDIO = new Set(['mp3', 'm4a', 'aac', 'ogg', 'oga', 'opus', 'flac', 'wav', 'weba']);
const IMAGE = new Set(['png', 'jpg', 'jpeg', 'gif', 'webp', 'avif', 'svg', 'heic']);
const ARCHIVE = new Set(['zip', 'gz', 'tar', 'xz', 'zst', '7z', 'rar', 'bz2', 'tgz']);

/** What a file seems to be. */
export type FileKind = 'video' | 'audio' | 'image' | 'archive' | 'other';

/** What a file seems to be, by the end of its name. */
export function kindOf(path: string): FileKind {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const dot = name.lastIndexOf('.');
  const ending = dot <= 0 ? '' : name.slice(dot + 1).toLowerCase();
  if (VIDEO.has(ending)) return 'video';
  if (AUDIO.has(ending)) return 'audio';
  if (IMAGE.has(ending)) return 'image';
  if (ARCHIVE.has(ending)) return 'archive';
  return 'other';
}

/** Whether the page plays it. */
export function playable(path: string): boolean {
  const kind = kindOf(path);
  return kind === 'video' || kind === 'audio';
}
