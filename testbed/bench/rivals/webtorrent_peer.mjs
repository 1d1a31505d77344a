// One webtorrent peer on this machine, for the comparison in transfer.py.
//
//     node webtorrent_peer.mjs seed  FILE TORRENT      runs a tracker, makes TORRENT (v1) and seeds FILE
//     node webtorrent_peer.mjs fetch TORRENT FOLDER    gets it into FOLDER
//
// The tracker speaks WebSocket only, and peers found through it speak WebRTC only; DHT, local discovery, port mapping,
// uTP and STUN are off. Prints one JSON line when it seeds (`{"ready":true}`) or has the verified file
// (`{"done":true,"setup_seconds":...}`: until the first peer was connected); a seed stays until its standard input ends.

import { mkdir, writeFile } from 'node:fs/promises'
import { Server as Tracker } from 'bittorrent-tracker'
import WebTorrent from 'webtorrent'

const QUIET = { dht: false, lsd: false, natUpnp: false, natPmp: false, utp: false, utPex: false, webSeeds: false }

function client () {
  return new WebTorrent({ ...QUIET, tracker: { rtcConfig: { iceServers: [] } } })
}

function say (words) {
  process.stdout.write(JSON.stringify(words) + '\n')
}

function stopOn (emitter) {
  emitter.on('error', error => {
    console.error(error)
    process.exit(1)
  })
}

async function seed (file, torrentFile) {
  const tracker = new Tracker({ udp: false, http: false, ws: true, stats: false })
  stopOn(tracker)
  await new Promise(resolve => tracker.listen(0, '127.0.0.1', resolve))
  const announce = [[`ws://127.0.0.1:${tracker.ws.address().port}`]]
  const peer = client()
  stopOn(peer)
  const torrent = await new Promise(resolve => peer.seed(file, { announceList: announce }, resolve))
  await writeFile(torrentFile, torrent.torrentFile)
  say({ ready: true })
  process.stdin.on('end', () => process.exit(0)).resume()
}

async function fetchFrom (torrentFile, folder) {
  const begun = performance.now()
  await mkdir(folder, { recursive: true })
  const peer = client()
  stopOn(peer)
  const torrent = peer.add(torrentFile, { path: folder })
  let connected = null
  torrent.on('wire', () => { connected ??= performance.now() })
  await new Promise(resolve => torrent.on('done', resolve))
  const setup = ((connected ?? begun) - begun) / 1000
  process.stdout.write(JSON.stringify({ done: true, setup_seconds: setup }) + '\n', () => process.exit(0))
}

const [role, ...rest] = process.argv.slice(2)
await { seed, fetch: fetchFrom }[role](...rest)
