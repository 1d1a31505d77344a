/** What is said of a file that cannot be played here: words for the user, whatever the reason was. */

import { KollatorError } from '../errors.ts';

/** The error of a file that this browser cannot play piece by piece. */
export function unplayable(message: string): KollatorError {
  return new KollatorError('unplayable', message);
}

/** An error as it is told: what is none of ours was thrown by whoever could not make sense of the file. */
export function told(error: unknown): KollatorError {
  if (error instanceof KollatorError) return error;
  return new KollatorError('unplayable', 'It is damaged, or of a kind that cannot be played while it comes in.', { cause: error });
}
