/**
 * The one kind of error this library throws on purpose: words for the user, and a code that programs can rely on. It
 * crosses the border between threads as plain data.
 */

import type { ErrorCode } from './types.ts';

/** Something the user has to know, or can do something about. */
export class KollatorError extends Error {
  override readonly name = 'KollatorError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** An error as it is sent to another thread. */
export interface PlainError {
  code: ErrorCode;
  message: string;
}

/** What of an error is sent to another thread. What is no {@link KollatorError} is a fault of ours: `broken`. */
export function toPlain(error: unknown): PlainError {
  if (error instanceof KollatorError) return { code: error.code, message: error.message };
  if (error instanceof DOMException && error.name === 'AbortError') return { code: 'aborted', message: 'it was called off' };
  if (error instanceof DOMException && error.name === 'QuotaExceededError') {
    return { code: 'storage-full', message: 'this browser grants no more room for shares' };
  }
  return { code: 'broken', message: error instanceof Error ? error.message : String(error) };
}

/** The error that was sent from another thread. */
export function fromPlain(error: PlainError): KollatorError {
  return new KollatorError(error.code, error.message);
}

/** What an operation throws once its signal is aborted. */
export function aborted(): KollatorError {
  return new KollatorError('aborted', 'it was called off');
}
