/**
 * What may be in a session description that a stranger sent. Each candidate is an address of its choice that the browser
 * sends packets to, and a section of another kind could open a microphone channel: neither is taken without a look.
 */

/** Most candidates taken from the other side. */
export const MAX_CANDIDATES = 32;

/** The number of candidates in `sdp`. Throws unless it describes one data channel transport and nothing else. */
export function checkDescription(sdp: string): number {
  const lines = sdp.split(/\r?\n/);
  const sections = lines.filter((line) => line.startsWith('m='));
  if (sections.length !== 1) throw new Error('it must have one section');
  if (!sections[0]?.startsWith('m=application ')) throw new Error('its section is not "application"');
  const candidates = lines.filter((line) => line.startsWith('a=candidate:')).length;
  if (candidates > MAX_CANDIDATES) throw new Error(`it has more than ${MAX_CANDIDATES} candidates`);
  return candidates;
}
