//! One client's WebSocket: what it says goes to the machine, what waits in its outbox goes to it. Never waits
//! for a client longer than a fixed time. What is rare is boxed: thousands of these tasks wait at the same time.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::task::Poll;
use std::time::Duration;

use kollator_core::node::front::{ClientId, Front, FrontInput};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tracing::debug;

use super::outbox::{Next, Outbox};
use super::websocket::{Broken, Frame, Incoming, WebSocket, close_code};
use crate::driver::Handle;

/// Longest wait for the network to take a message.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the other side's part in closing.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Carries messages both ways until either side ends it. The machine hears of the beginning and the end.
pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    client: ClientId,
    ip: IpAddr,
    outbox: &Outbox,
    handle: &Handle<Front>,
) {
    if handle.send(FrontInput::Connected { client, ip }).await.is_err() {
        return;
    }
    let mut socket = WebSocket::new(stream);
    let ending = carry(&mut socket, client, outbox, handle).await;
    debug!(client = client.0, %ip, ?ending, "client gone");
    // An error says that the machine has stopped.
    let _ = handle.send(FrontInput::Disconnected { client }).await;
    Box::pin(close(&mut socket, ending)).await;
}

/// Why a conversation is over.
#[derive(Debug)]
enum Ending {
    /// We close.
    Ours { code: u16, reason: String },
    /// The client closed, with this code.
    Theirs { code: Option<u16> },
    /// The connection is lost.
    Lost,
}

/// What there is to do for a client.
enum Turn {
    Write(Next),
    Read(Result<Incoming, Broken>),
}

async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocket<S>,
    client: ClientId,
    outbox: &Outbox,
    handle: &Handle<Front>,
) -> Ending {
    loop {
        // Writing first: a client that only talks must not keep itself from hearing.
        let turn = poll_fn(|cx| match outbox.poll_next(cx) {
            Poll::Ready(next) => Poll::Ready(Turn::Write(next)),
            Poll::Pending => socket.poll_next(cx).map(Turn::Read),
        });
        let frame = match turn.await {
            Turn::Write(Next::Text(text)) => Frame::text(text),
            Turn::Write(Next::Close(reason)) => return Ending::Ours { code: close_code::POLICY, reason },
            Turn::Read(Ok(Incoming::Text(text))) => {
                if handle.send(FrontInput::Message { client, text }).await.is_err() {
                    return Ending::Ours { code: close_code::AWAY, reason: "this front has stopped".to_owned() };
                }
                continue;
            }
            Turn::Read(Ok(Incoming::Ping(payload))) => Frame::pong(&payload),
            Turn::Read(Ok(Incoming::Binary)) => {
                return Ending::Ours { code: close_code::UNSUPPORTED, reason: "messages are text".to_owned() };
            }
            Turn::Read(Ok(Incoming::Closed(code))) => return Ending::Theirs { code },
            Turn::Read(Err(Broken::Rule(code, words))) => return Ending::Ours { code, reason: words.to_owned() },
            Turn::Read(Err(Broken::Lost)) => return Ending::Lost,
        };
        if write(socket, frame, outbox).await.is_err() {
            return Ending::Lost;
        }
    }
}

/// Writes a frame, unless the network takes too long or the client is cut meanwhile.
async fn write<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocket<S>,
    mut frame: Frame,
    outbox: &Outbox,
) -> io::Result<()> {
    // The network nearly always takes it at once.
    if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(socket.poll_write(cx, &mut frame))).await {
        return result;
    }
    let slowly = timeout(
        WRITE_TIMEOUT,
        poll_fn(|cx| match socket.poll_write(cx, &mut frame) {
            Poll::Pending => outbox.poll_cut(cx).map(|()| Err(io::ErrorKind::ConnectionAborted.into())),
            ready @ Poll::Ready(_) => ready,
        }),
    );
    Box::pin(slowly).await?
}

/// Says why, then reads on until the other side has closed too: closing a socket that has unread data would
/// reset the connection, and the reason would be lost.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocket<S>, ending: Ending) {
    let (mut frame, theirs) = match ending {
        Ending::Ours { code, reason } => (Frame::close(code, &reason), false),
        Ending::Theirs { code } => (Frame::close(code.unwrap_or(close_code::NORMAL), ""), true),
        Ending::Lost => return,
    };
    let farewell = async {
        if poll_fn(|cx| socket.poll_write(cx, &mut frame)).await.is_err() || theirs {
            return;
        }
        loop {
            match poll_fn(|cx| socket.poll_next(cx)).await {
                Ok(Incoming::Closed(_)) | Err(Broken::Lost) => return,
                Ok(_) => {}
                Err(Broken::Rule(..)) => return poll_fn(|cx| socket.poll_drain(cx)).await,
            }
        }
    };
    // Whoever does not take part in it is left behind.
    let _ = timeout(CLOSE_TIMEOUT, farewell).await;
}
