/** A server whose one page is empty: for what browsers do by themselves. */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Runs `task` with the page's URL. */
export async function withEmptyPage(task: (url: string) => Promise<void>): Promise<void> {
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>empty</title>');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await task(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** In a page: waits until all of `pc`'s addresses are known; its description. */
const DESCRIBE = `
  while (pc.iceGatheringState !== 'complete') await new Promise((wake) => setTimeout(wake, 20));
  return JSON.stringify(pc.localDescription);
`;

/** In the page that dials: a connection with a channel; what to give the other page. */
export const OFFER = `
  window.pc = new RTCPeerConnection();
  window.channel = pc.createDataChannel('test');
  channel.binaryType = 'arraybuffer';
  await pc.setLocalDescription();
  ${DESCRIBE}
`;

/** In the other page: runs `onchannel` for the channel that comes; what to give back. */
export function answer(offer: string, onchannel: string): string {
  return `
    window.pc = new RTCPeerConnection();
    pc.ondatachannel = ({ channel }) => { channel.binaryType = 'arraybuffer'; ${onchannel} };
    await pc.setRemoteDescription(${offer});
    await pc.setLocalDescription();
    ${DESCRIBE}
  `;
}
