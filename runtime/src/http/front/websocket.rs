//! The server's side of a WebSocket (RFC 6455) after its upgrade: frames to messages and back. Never holds a buffer
//! while nothing is half read: buffers are most of what an idle client costs elsewhere.

use std::io::{self, IoSlice};
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use kollator_core::wire::signal::MAX_MESSAGE;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Codes of close frames (RFC 6455, 7.4.1).
pub(super) mod close_code {
    pub(in super::super) const NORMAL: u16 = 1000;
    pub(in super::super) const AWAY: u16 = 1001;
    pub(in super::super) const PROTOCOL: u16 = 1002;
    pub(in super::super) const UNSUPPORTED: u16 = 1003;
    pub(in super::super) const INVALID: u16 = 1007;
    pub(in super::super) const POLICY: u16 = 1008;
    pub(in super::super) const TOO_BIG: u16 = 1009;
}

/// Most bytes in the payload of a control frame (RFC 6455, 5.5).
pub(super) const MAX_CONTROL: usize = 125;
/// Most bytes in the head of a frame without a mask.
const MAX_HEAD: usize = 10;
/// Read at once, on the stack.
const READ: usize = 8192;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// An upgraded connection.
pub(super) struct WebSocket<S> {
    stream: S,
    /// Read, but not yet a whole frame or not yet asked for.
    unread: Vec<u8>,
    /// The beginning of a message that comes in fragments.
    fragments: Option<Vec<u8>>,
}

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A message, valid UTF-8, at most [`MAX_MESSAGE`] bytes.
    Text(Bytes),
    /// A binary message, or the first part of one.
    Binary,
    /// To be answered by a pong that holds the same.
    Ping(Bytes),
    /// It closes, with this code. To be answered by a close; nothing follows.
    Closed(Option<u16>),
}

/// Why nothing more can be read.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection is gone.
    Lost,
    /// The client broke a rule: the close code and the words that say so.
    Rule(u16, &'static str),
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, unread: Vec::new(), fragments: None }
    }

    /// What the client sent next. Cancel safe.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Broken>> {
        loop {
            if let Some(incoming) = self.take()? {
                return Poll::Ready(Ok(incoming));
            }
            ready!(self.poll_read(cx))?;
        }
    }

    /// Writes what is left of a frame.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, frame: &mut Frame) -> Poll<io::Result<()>> {
        while let [head, payload] = frame.left()
            && !(head.is_empty() && payload.is_empty())
        {
            let parts = [IoSlice::new(head), IoSlice::new(payload)];
            match ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &parts))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => frame.written += written,
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Reads what still comes, whatever it is, until the connection is gone.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while ready!(self.poll_read(cx)).is_ok() {
            self.unread.clear();
        }
        Poll::Ready(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut room = [const { MaybeUninit::uninit() }; READ];
        let mut read = ReadBuf::uninit(&mut room);
        match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)) {
            Ok(()) if !read.filled().is_empty() => {
                self.unread.extend_from_slice(read.filled());
                Poll::Ready(Ok(()))
            }
            Ok(()) | Err(_) => Poll::Ready(Err(Broken::Lost)),
        }
    }

    /// The first message or control frame of what was read, if all of it is there.
    fn take(&mut self) -> Result<Option<Incoming>, Broken> {
        while let Some(head) = Head::parse(&self.unread)? {
            let end = head.begin + head.length;
            if self.unread.len() < end {
                break;
            }
            let rest = if self.unread.len() == end { Vec::new() } else { self.unread.split_off(end) };
            let mut frame = mem::replace(&mut self.unread, rest);
            unmask(&mut frame[head.begin..], head.mask);
            let payload = || {
                let mut bytes = Bytes::from(frame);
                bytes.advance(head.begin);
                bytes
            };
            match (head.opcode, head.last) {
                (TEXT, true) if self.fragments.is_none() => return text(payload()).map(Some),
                (TEXT, false) if self.fragments.is_none() => self.fragments = Some(payload().into()),
                (CONTINUATION, last) => {
                    let Some(fragments) = &mut self.fragments else {
                        return Err(Broken::Rule(close_code::PROTOCOL, "nothing to continue"));
                    };
                    if fragments.len() + head.length > MAX_MESSAGE {
                        return Err(TOO_LONG);
                    }
                    fragments.extend_from_slice(&payload());
                    if last {
                        let whole = self.fragments.take().unwrap_or_default();
                        return text(whole.into()).map(Some);
                    }
                }
                (BINARY, _) if self.fragments.is_none() => return Ok(Some(Incoming::Binary)),
                (PING, _) => return Ok(Some(Incoming::Ping(payload()))),
                (PONG, _) => {}
                (CLOSE, _) => {
                    let mut payload = payload();
                    return Ok(Some(Incoming::Closed(payload.try_get_u16().ok())));
                }
                _ => return Err(Broken::Rule(close_code::PROTOCOL, "a message in the middle of another")),
            }
        }
        Ok(None)
    }
}

const TOO_LONG: Broken = Broken::Rule(close_code::TOO_BIG, "a message longer than 65536 bytes");

fn text(bytes: Bytes) -> Result<Incoming, Broken> {
    match str::from_utf8(&bytes) {
        Ok(_) => Ok(Incoming::Text(bytes)),
        Err(_) => Err(Broken::Rule(close_code::INVALID, "a message is not UTF-8")),
    }
}

/// The head of a frame (RFC 6455, 5.2).
struct Head {
    opcode: u8,
    last: bool,
    mask: [u8; 4],
    /// Where the payload begins.
    begin: usize,
    /// Bytes in the payload.
    length: usize,
}

impl Head {
    /// The head at the beginning of `bytes`, if all of it is there. What no frame may be is told as soon as it shows,
    /// so that no more than a frame's length is ever waited for.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Broken> {
        let rule = |words| Err(Broken::Rule(close_code::PROTOCOL, words));
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let (opcode, last, short) = (first & 0x0f, first & FIN != 0, second & !MASKED);
        if first & 0x70 != 0 {
            return rule("an extension that was not agreed");
        }
        if second & MASKED == 0 {
            return rule("a frame without a mask");
        }
        match opcode {
            CONTINUATION | TEXT | BINARY => {}
            CLOSE | PING | PONG if last && usize::from(short) <= MAX_CONTROL => {}
            CLOSE | PING | PONG => return rule("a control frame that is long or in fragments"),
            _ => return rule("a frame of an unknown kind"),
        }
        let (length, rest, wide) = match (short, rest) {
            (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest, 2),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest, 8)
            }
            (126 | 127, _) => return Ok(None),
            (short, rest) => (u64::from(short), rest, 0),
        };
        let length = usize::try_from(length).ok().filter(|length| *length <= MAX_MESSAGE).ok_or(TOO_LONG)?;
        let Some(mask) = rest.first_chunk::<4>() else { return Ok(None) };
        Ok(Some(Self { opcode, last, mask: *mask, begin: 2 + wide + mask.len(), length }))
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    // Eight bytes at once; the mask goes into eight twice, so that what is left begins with its first byte.
    let wide = u64::from_ne_bytes([mask, mask].as_flattened().try_into().expect("twice four bytes"));
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

/// A frame to be written, and how far it is.
pub(super) struct Frame {
    head: [u8; MAX_HEAD],
    head_length: usize,
    /// Apart from the head, so that a message need not be copied to be framed.
    payload: Vec<u8>,
    written: usize,
}

impl Frame {
    /// A whole message.
    pub(super) fn text(text: String) -> Self {
        Self::new(TEXT, text.into_bytes())
    }

    /// The answer to a ping, whose payload it holds.
    pub(super) fn pong(payload: &[u8]) -> Self {
        Self::new(PONG, payload.to_vec())
    }

    /// The last frame. The reason is cut where it is too long.
    pub(super) fn close(code: u16, reason: &str) -> Self {
        let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL - 2)];
        Self::new(CLOSE, [&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    fn new(opcode: u8, payload: Vec<u8>) -> Self {
        let mut head = [0; MAX_HEAD];
        head[0] = FIN | opcode;
        let head_length = match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(short @ ..=125), _) => {
                head[1] = short;
                2
            }
            (_, Ok(middle)) => {
                head[1] = 126;
                head[2..4].copy_from_slice(&middle.to_be_bytes());
                4
            }
            _ => {
                head[1] = 127;
                head[2..].copy_from_slice(&(payload.len() as u64).to_be_bytes());
                MAX_HEAD
            }
        };
        Self { head, head_length, payload, written: 0 }
    }

    /// What is left to be written of the head and of the payload.
    fn left(&self) -> [&[u8]; 2] {
        let of_payload = self.written.saturating_sub(self.head_length);
        [&self.head[self.written.min(self.head_length)..self.head_length], &self.payload[of_payload..]]
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    /// A client's frame.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let frame = Frame::new(0, payload.to_vec());
        let [head, _] = frame.left();
        let mask = [1, 2, 3, 0xff];
        let body = payload.iter().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask);
        [first, head[1] | MASKED].into_iter().chain(head[2..].to_vec()).chain(mask).chain(body).collect()
    }

    /// Everything that the server makes of bytes that arrive in pieces, up to the first break.
    fn all(wire: &[u8], piece: usize) -> (Vec<Incoming>, Broken) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (mut client, server) = duplex(piece);
            let mut socket = WebSocket::new(server);
            // Ends the connection with the first break: a client that still writes must not wait.
            let read = async move {
                let mut found = Vec::new();
                loop {
                    match poll_fn(|cx| socket.poll_next(cx)).await {
                        Ok(incoming) => found.push(incoming),
                        Err(broken) => return (found, broken, socket.unread.capacity()),
                    }
                }
            };
            let write = async {
                // Fails where the server has stopped reading.
                let _ = client.write_all(wire).await;
                drop(client);
            };
            let ((found, broken, held), ()) = tokio::join!(read, write);
            assert!(held <= 2 * (MAX_MESSAGE + 14 + READ), "{held} bytes are held");
            (found, broken)
        })
    }

    #[derive(Clone, Debug)]
    enum Sent {
        /// A message in fragments, with a ping or pong after each.
        Text(Vec<String>, bool),
        Ping(Vec<u8>),
        Pong(Vec<u8>),
    }

    fn sent() -> impl Strategy<Value = Sent> {
        let control = || vec(any::<u8>(), 0..=MAX_CONTROL);
        prop_oneof![
            (vec("\\PC{0,150}", 1..5), any::<bool>()).prop_map(|(parts, pings)| Sent::Text(parts, pings)),
            control().prop_map(Sent::Ping),
            control().prop_map(Sent::Pong),
        ]
    }

    proptest! {
        #[test]
        fn messages_arrive_however_they_are_cut(all_sent in vec(sent(), 0..8), piece in 1..3000usize) {
            let (mut wire, mut expected) = (Vec::new(), Vec::new());
            for sent in all_sent {
                match sent {
                    Sent::Text(parts, pings) => {
                        for (index, part) in parts.iter().enumerate() {
                            let last = if index + 1 == parts.len() { FIN } else { 0 };
                            let opcode = if index == 0 { TEXT } else { CONTINUATION };
                            wire.extend(masked(last | opcode, part.as_bytes()));
                            if last == 0 && pings {
                                wire.extend(masked(FIN | PING, b"p"));
                                expected.push(Incoming::Ping(Bytes::from_static(b"p")));
                            }
                        }
                        expected.push(Incoming::Text(parts.concat().into()));
                    }
                    Sent::Ping(payload) => {
                        wire.extend(masked(FIN | PING, &payload));
                        expected.push(Incoming::Ping(payload.into()));
                    }
                    Sent::Pong(payload) => wire.extend(masked(FIN | PONG, &payload)),
                }
            }
            let (found, broken) = all(&wire, piece);
            prop_assert_eq!(found, expected);
            prop_assert!(matches!(broken, Broken::Lost));
        }

        #[test]
        fn junk_never_panics_or_grows(wire in vec(any::<u8>(), 0..2000), first in 0..16u8) {
            all(&wire, 100);
            all(&[&masked(FIN | first, &wire)[..], &wire].concat(), 100);
        }

        /// Another implementation reads what is written, and is read.
        #[test]
        fn agrees_with_tungstenite(texts in vec("\\PC{0,300}|[ -~]{65000,65536}", 1..6), pong in vec(any::<u8>(), 0..=125)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                let (client, server) = duplex(1000);
                let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
                let mut server = WebSocket::new(server);
                let echo = async {
                    let mut reply = Frame::pong(&pong);
                    poll_fn(|cx| server.poll_write(cx, &mut reply)).await.expect("open");
                    for text in &texts {
                        let got = poll_fn(|cx| server.poll_next(cx)).await.expect("open");
                        assert_eq!(got, Incoming::Text(Bytes::copy_from_slice(text.as_bytes())));
                        let mut frame = Frame::text(text.clone());
                        poll_fn(|cx| server.poll_write(cx, &mut frame)).await.expect("open");
                    }
                    let mut frame = Frame::close(close_code::POLICY, &"\u{e4}".repeat(200));
                    poll_fn(|cx| server.poll_write(cx, &mut frame)).await.expect("open");
                };
                let talk = async {
                    use futures_util::{SinkExt as _, StreamExt as _};
                    assert_eq!(client.next().await.expect("open").expect("a frame"), Message::Pong(pong.clone().into()));
                    for text in &texts {
                        client.send(Message::text(text)).await.expect("open");
                        assert_eq!(client.next().await.expect("open").expect("a frame"), Message::text(text));
                    }
                    let Message::Close(Some(frame)) = client.next().await.expect("open").expect("a frame") else {
                        panic!("not a close");
                    };
                    assert_eq!((u16::from(frame.code), frame.reason.len()), (close_code::POLICY, 122));
                };
                tokio::join!(echo, talk);
            });
        }
    }

    #[test]
    fn broken_rules_are_told_with_their_code() {
        let long = vec![b'x'; MAX_MESSAGE + 1];
        let code = |wire: &[u8]| match all(wire, 1 << 20) {
            (found, Broken::Rule(code, _)) if found.is_empty() => Some(code),
            _ => None,
        };
        let part = masked(TEXT, b"a");
        for (wire, expected) in [
            (masked(FIN | TEXT, &long), close_code::TOO_BIG),
            (vec![FIN | TEXT, MASKED | 127, 0xff, 0, 0, 0, 0, 0, 0, 0], close_code::TOO_BIG),
            ([part.clone(), masked(CONTINUATION, &long[1..])].concat(), close_code::TOO_BIG),
            (masked(FIN | TEXT, b"\xff"), close_code::INVALID),
            (vec![FIN | TEXT, 0], close_code::PROTOCOL),
            (masked(FIN | CONTINUATION, b"a"), close_code::PROTOCOL),
            ([part.clone(), part.clone()].concat(), close_code::PROTOCOL),
            ([part, masked(FIN | BINARY, b"a")].concat(), close_code::PROTOCOL),
            (masked(FIN | 0x40 | TEXT, b"a"), close_code::PROTOCOL),
            (masked(FIN | 0x3, b""), close_code::PROTOCOL),
            (masked(PING, b""), close_code::PROTOCOL),
            (masked(FIN | PING, &[0; MAX_CONTROL + 1]), close_code::PROTOCOL),
        ] {
            assert_eq!(code(&wire), Some(expected), "{:x?}", &wire[..wire.len().min(20)]);
        }
        assert_eq!(all(&masked(FIN | CLOSE, &[3, 232, b'x']), 9).0, [Incoming::Closed(Some(1000))]);
        assert_eq!(all(&masked(FIN | CLOSE, b""), 9).0, [Incoming::Closed(None)]);
        assert_eq!(all(&masked(BINARY, b"\xff"), 9).0, [Incoming::Binary]);
    }

    #[tokio::test]
    async fn nothing_is_held_between_messages() {
        let (mut client, server) = duplex(1 << 16);
        let mut socket = WebSocket::new(server);
        for _ in 0..3 {
            client.write_all(&masked(FIN | TEXT, &[b'x'; 3000])).await.expect("open");
            assert!(
                matches!(poll_fn(|cx| socket.poll_next(cx)).await, Ok(Incoming::Text(text)) if text.len() == 3000)
            );
            assert_eq!(socket.unread.capacity(), 0);
            let mut frame = Frame::text("y".to_owned());
            poll_fn(|cx| socket.poll_write(cx, &mut frame)).await.expect("open");
            let mut got = [0; 3];
            client.read_exact(&mut got).await.expect("open");
            assert_eq!(got, [FIN | TEXT, 1, b'y']);
        }
    }
}
