/** The link of a share, as it is handed on. */

import type { Machine } from '../machine.ts';

/** Empty if there is no front that could open it. */
export function shareLink(
  machine: Pick<Machine, 'call'>,
  { infoHash, name, fronts, key, to }: { infoHash: string; name: string | null; fronts: string[]; key: string | null; to: string | null },
): string {
  if (fronts.length === 0) return '';
  const opens = to ? { to } : key ? { key } : {};
  return machine.call({ t: 'shareLink', infoHash, fronts, ...(name ? { name } : {}), ...opens }).ok.link;
}
