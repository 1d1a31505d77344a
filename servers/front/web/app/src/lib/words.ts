/**
 * What the page says about a share: a headline, a sentence, and what it means for whoever looks at it. Plain words,
 * short sentences, never more certain than the state it is given.
 */

import type { ErrorCode, Phase, ShareState } from '@kollator/client';

import { bytes, duration, percent, rate } from './format.ts';

/** How a state is to be taken: it works, it wants the tab open, it is done, it went wrong, nothing goes on. */
export type Tone = 'busy' | 'hold' | 'done' | 'wrong' | 'rest';

/** A state in words. */
export interface Words {
  tone: Tone;
  title: string;
  detail: string;
}

/** What is wrong and what to do. */
export interface Trouble {
  title: string;
  advice: string;
}

/** How far a share is: what is done of what, for a bar. A share that is through is whole, whatever was counted. */
export function progressOf(share: ShareState): { done: number; total: number } {
  const total = share.bytesTotal;
  switch (share.phase) {
    case 'preparing':
      return { done: share.bytesPrepared, total };
    case 'uploading':
      return { done: share.bytesStored, total };
    case 'safe':
    case 'complete':
      return { done: total, total };
    default:
      return { done: share.role === 'sent' ? share.bytesStored : share.bytesDone, total };
  }
}

/** Whether closing the tab now would lose or stop something that the user was told is under way. */
export function holdsTab(share: ShareState): boolean {
  return share.phase === 'preparing' || share.phase === 'uploading';
}

/** After how many milliseconds without anything coming in the page says that it waits. */
export const PATIENCE = 12_000;

/** What the page says about a share, of which nothing has come in for `waited` milliseconds. */
export function wordsFor(share: ShareState, waited = 0): Words {
  const { done, total } = progressOf(share);
  const sent = share.role === 'sent';
  const known = total > 0;
  const amount = known ? `${bytes(done)} of ${bytes(total)}` : '';
  switch (share.phase) {
    case 'preparing':
      return {
        tone: 'hold',
        title: 'Getting it ready',
        detail: `${share.encrypted ? 'Encrypting and checking' : 'Checking'} on this device. ${amount}.`,
      };
    case 'uploading':
      return {
        tone: 'hold',
        title: 'Keep this tab open',
        detail: `The link works while this tab is open. ${amount} stored so far${
          share.speedUp >= 1 ? `, at ${rate(share.speedUp)}` : ''
        }.`,
      };
    case 'safe':
      return { tone: 'done', title: 'Safe to close this tab', detail: 'Kollator keeps it now. The link works without you.' };
    case 'finding':
      if (waited > PATIENCE) {
        return {
          tone: 'rest',
          title: 'Nobody has it right now',
          detail: 'It may have been sent from a tab that was closed too early. This page goes on looking.',
        };
      }
      return { tone: 'busy', title: 'Looking for it', detail: 'Asking who has what this link names.' };
    case 'downloading':
      if (waited > PATIENCE && !share.sources.some((source) => source.connected)) {
        return { tone: 'rest', title: 'Waiting for someone', detail: `${amount}. Nobody who has the rest is here. It goes on when someone comes.` };
      }
      return {
        tone: 'busy',
        title: `${percent(done, total)}% here`,
        detail: amount === '' ? 'Beginning.' : `${amount}, every chunk checked${share.remaining === undefined ? '' : `. ${sentence(duration(share.remaining))} left`}.`,
      };
    case 'complete':
      return { tone: 'done', title: 'All here', detail: `${bytes(total)}, every byte checked.` };
    case 'paused':
      return { tone: 'rest', title: 'Paused', detail: known ? `${amount} ${sent ? 'stored' : 'here'}.` : 'It goes on where it was.' };
    case 'elsewhere':
      return { tone: 'rest', title: 'Open in another tab', detail: 'Another tab works on this. It goes on here when you close that one.' };
    case 'failed':
      return { tone: 'wrong', title: 'This did not work', detail: share.error ?? 'It stopped without saying why.' };
  }
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A phase in a word or two, for a list. */
export function phaseLabel(phase: Phase): string {
  const labels: Record<Phase, string> = {
    preparing: 'Getting ready',
    uploading: 'Uploading',
    safe: 'Stored',
    finding: 'Looking',
    downloading: 'Receiving',
    complete: 'Complete',
    paused: 'Paused',
    elsewhere: 'In another tab',
    failed: 'Failed',
  };
  return labels[phase];
}

/** What an error means for the user, and what helps. */
export function troubleFor(code: ErrorCode | undefined, personal = false): Trouble {
  switch (code) {
    case 'link':
      return { title: 'This link is broken', advice: 'Copy it again, to the last character, or ask for it once more.' };
    case 'key-missing':
      return {
        title: 'The key is missing from this link',
        advice: 'This share is encrypted, and the part of the link that opens it was cut off. Ask the sender for the whole link.',
      };
    case 'key-wrong':
      if (personal) {
        return {
          title: 'This is for somebody else',
          advice:
            'Only the person it was made for can open it. If that is you, open the link where your key is, in another browser or in the terminal. ' +
            'Or give the sender the key of this browser, and ask for a new link.',
        };
      }
      return { title: 'The key in this link does not fit', advice: 'It may have been changed on the way. Ask the sender to copy the link again.' };
    case 'not-found':
      return {
        title: 'Nobody has this right now',
        advice: 'It may have been sent from a tab that was closed too early. Ask the sender to open Kollator again.',
      };
    case 'storage-full':
      return { title: 'No room left on this device', advice: 'Delete something under My files or free some space, then try again.' };
    case 'storage':
      return { title: 'This browser cannot keep it', advice: 'Close other tabs that have this share open. Private windows may not allow storage at all.' };
    case 'offline':
      return { title: 'Kollator cannot be reached', advice: 'Check your connection. It goes on by itself when the connection is back.' };
    case 'refused':
      return { title: 'This was refused', advice: 'The details below say why.' };
    case 'unplayable':
      return { title: 'This cannot be played here', advice: 'Save it, and play it with another program.' };
    case 'aborted':
      return { title: 'Stopped', advice: 'You can begin again at any time.' };
    default:
      return { title: 'This did not work', advice: 'Try again. If it stays like this, ask for a new link.' };
  }
}

/**
 * What a screen reader is told next, if anything: every change of phase at once, but progress only at each quarter,
 * so that it never talks without pause. `before` is what the last call gave.
 */
export function announcement(share: ShareState, before: { phase?: Phase; quarter: number; text: string }): typeof before {
  const { done, total } = progressOf(share);
  const quarter = Math.floor(percent(done, total) / 25);
  if (share.phase === before.phase && quarter === before.quarter) return before;
  const words = wordsFor(share);
  const moving = share.phase === 'downloading' || holdsTab(share);
  const text = moving ? `${share.phase === 'downloading' ? '' : `${words.title}. `}${percent(done, total)}% of ${share.name}` : `${words.title}: ${share.name}`;
  return { phase: share.phase, quarter, text };
}
