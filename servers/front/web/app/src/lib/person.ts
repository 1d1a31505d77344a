/** What someone gave as a person's key, and whether a link is for one person only. */

import { isPublicKey } from '@kollator/client';

/** Characters of a key. */
const LENGTH = 43;

/** What is wrong with a text where a person's key should be; nothing if it is one. */
export function keyProblem(text: string): string {
  const key = text.trim();
  if (isPublicKey(key)) return '';
  if (key === '') return 'Paste their key first, then choose again what to share.';
  if (/[:/#]/.test(key)) return 'This is a link, not a key. A key is in Settings, under “Your key”.';
  if (/^[\w-]+$/.test(key) && key.length !== LENGTH) {
    return `A key has ${LENGTH} characters; this has ${key.length}${key.length < LENGTH ? ', so a part is missing' : ''}.`;
  }
  return `This is not a key: a key has ${LENGTH} letters, digits, hyphens and underscores.`;
}

/** Whether a link has its key for one person only. */
export function isPersonal(link: string): boolean {
  return /#.*&to=/.test(link);
}
