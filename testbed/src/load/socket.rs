//! The client's side of a WebSocket (RFC 6455), as little of it as a front's own messages need: unfragmented text. A
//! session costs a socket and, while nothing is half read, no buffer.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context as _, bail, ensure};
use kollator_core::wire::signal::MAX_MESSAGE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Most bytes of the answer to the upgrade.
const MAX_HEAD: usize = 4096;
/// A fixed one will do where no proxy is on the way.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Opens a WebSocket to a front from the address `source`.
pub(super) async fn connect(front: SocketAddrV4, source: Ipv4Addr) -> anyhow::Result<(Reader, Writer)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddrV4::new(source, 0).into())?;
    let mut stream = socket.connect(front.into()).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET /signaling HTTP/1.1\r\nHost: {front}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let end = loop {
        if let Some(at) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        ensure!(head.len() < MAX_HEAD, "the answer to the upgrade is too long");
        ensure!(stream.read_buf(&mut head).await? > 0, "closed before the upgrade");
    };
    // A front that turns a session away says so at once.
    let unread = head.split_off(end);
    if !head.starts_with(b"HTTP/1.1 101 ") {
        bail!(
            "the upgrade is answered by {:?}",
            String::from_utf8_lossy(&head).lines().next().unwrap_or_default()
        );
    }
    let (reader, writer) = stream.into_split();
    Ok((Reader { stream: reader, unread }, Writer { stream: writer, frame: Vec::new() }))
}

/// Writes messages.
pub(super) struct Writer {
    stream: OwnedWriteHalf,
    /// Kept for its room.
    frame: Vec<u8>,
}

impl Writer {
    /// Writes a text message.
    pub(super) async fn send(&mut self, text: &str) -> io::Result<()> {
        self.frame.clear();
        self.frame.push(0x81);
        match (u8::try_from(text.len()), u16::try_from(text.len())) {
            (Ok(short @ ..=125), _) => self.frame.push(0x80 | short),
            (_, Ok(middle)) => {
                self.frame.push(0x80 | 126);
                self.frame.extend(middle.to_be_bytes());
            }
            _ => {
                self.frame.push(0x80 | 127);
                self.frame.extend((text.len() as u64).to_be_bytes());
            }
        }
        self.frame.extend(MASK);
        let payload = self.frame.len();
        self.frame.extend_from_slice(text.as_bytes());
        for bytes in self.frame[payload..].chunks_mut(MASK.len()) {
            bytes.iter_mut().zip(MASK).for_each(|(byte, mask)| *byte ^= mask);
        }
        self.stream.write_all(&self.frame).await
    }
}

/// Reads messages.
pub(super) struct Reader {
    stream: OwnedReadHalf,
    unread: Vec<u8>,
}

impl Reader {
    /// The next message. Fails when the front closes, with its reason.
    pub(super) async fn next(&mut self) -> anyhow::Result<Vec<u8>> {
        loop {
            match take_frame(&mut self.unread)? {
                Some((0x81, text)) => return Ok(text),
                Some((0x88, reason)) => {
                    bail!("a front closed: {}", String::from_utf8_lossy(reason.get(2..).unwrap_or_default()));
                }
                Some((0x89 | 0x8a, _)) => {}
                Some((kind, _)) => bail!("a front sent a frame of kind {kind:#x}"),
                None => {
                    self.stream.readable().await?;
                    self.read()?;
                }
            }
        }
    }

    /// What has arrived. Not a part of the future above, which would hold the buffer while it waits.
    fn read(&mut self) -> anyhow::Result<()> {
        let mut buffer = [0; 4096];
        match self.stream.try_read(&mut buffer) {
            Ok(0) => bail!("a front closed without a word"),
            Ok(count) => self.unread.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("a connection broke"),
        }
        Ok(())
    }
}

/// The first frame of what was read, as its first byte and its payload, if all of it is there.
fn take_frame(unread: &mut Vec<u8>) -> anyhow::Result<Option<(u8, Vec<u8>)>> {
    let (begin, length) = match unread.as_slice() {
        [_, length @ ..=125, ..] => (2, usize::from(*length)),
        [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        [_, 127, length @ ..] if length.len() >= 8 => {
            let length = u64::from_be_bytes(length[..8].try_into()?);
            (10, usize::try_from(length)?)
        }
        [_, 128..=255, ..] => bail!("a front sent a masked frame"),
        _ => return Ok(None),
    };
    ensure!(length <= MAX_MESSAGE, "a front sent {length} bytes in one message");
    let end = begin + length;
    if unread.len() < end {
        return Ok(None);
    }
    let frame = (unread[0], unread[begin..end].to_vec());
    if unread.len() == end {
        *unread = Vec::new();
    } else {
        unread.drain(..end);
    }
    Ok(Some(frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_come_apart_where_they_end() {
        let lengths = [0, 1, 125, 126, 127, 1300, 65_535, MAX_MESSAGE];
        let mut wire = Vec::new();
        for length in lengths {
            wire.push(0x81);
            match length {
                ..=125 => wire.push(length as u8),
                126..=65_535 => {
                    wire.push(126);
                    wire.extend((length as u16).to_be_bytes());
                }
                _ => {
                    wire.push(127);
                    wire.extend((length as u64).to_be_bytes());
                }
            }
            wire.extend(vec![b'x'; length]);
        }
        let mut unread = Vec::new();
        let mut found = Vec::new();
        for bytes in wire.chunks(7) {
            unread.extend_from_slice(bytes);
            while let Some((kind, text)) = take_frame(&mut unread).expect("good frames") {
                assert_eq!((kind, text.iter().all(|byte| *byte == b'x')), (0x81, true));
                found.push(text.len());
            }
        }
        assert_eq!(found, lengths);
        assert!(unread.is_empty());
    }

    #[test]
    fn what_no_front_sends_is_an_error() {
        assert!(take_frame(&mut vec![0x81, 0x80, 0]).is_err(), "masked");
        assert!(take_frame(&mut vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 1]).is_err(), "too long");
    }
}
