/**
 * The one error that the library throws on purpose: words for the user, and a code that programs can rely on.
 */

import type { ErrorCode } from './types.ts';

/** Something went wrong; `message` says what, in words for the user, `code` in one that programs can rely on. */
export class KollatorError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'KollatorError';
    this.code = code;
  }
}

/** Throws a {@link KollatorError} `aborted` if `signal` says so. */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal);
}

/** The error of whatever `signal` stopped. */
export function aborted(signal?: AbortSignal): KollatorError {
  return new KollatorError('aborted', 'It was stopped before it was done.', { cause: signal?.reason });
}
