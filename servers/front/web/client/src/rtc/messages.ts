/**
 * What the engine's worker and the page say to each other about WebRTC: connections can be made by the page only, data
 * channels are used by the worker where the browser lets them move there.
 */

/** A STUN or TURN server, as a front names it. */
export interface IceServer {
  urls: string[];
  username?: string;
  credential?: string;
}

/** To the page: the machine's commands, but for sending on a channel that lives in the worker. */
export type RtcCommand =
  | { t: 'rtcIceServers'; servers: IceServer[]; relayOnly: boolean }
  | { t: 'rtcOffer'; conn: number }
  | { t: 'rtcAccept'; conn: number; sdp: string }
  | { t: 'rtcSetAnswer'; conn: number; sdp: string }
  | { t: 'rtcCandidate'; conn: number; candidate: string }
  /** On a channel that stayed with the page. */
  | { t: 'rtcSend'; conn: number; data: ArrayBuffer }
  | { t: 'rtcClose'; conn: number; flush: boolean };

/** To the worker. */
export type RtcEvent =
  | { t: 'rtcDescribed'; conn: number; sdp: string }
  /** The connection's data channel, to be used by the worker from now on. */
  | { t: 'rtcChannel'; conn: number; channel: RTCDataChannel }
  | { t: 'rtcOpen'; conn: number }
  | { t: 'rtcMessage'; conn: number; data: ArrayBuffer }
  | { t: 'rtcSent'; conn: number; bytes: number }
  | { t: 'rtcClosed'; conn: number; reason: string };
