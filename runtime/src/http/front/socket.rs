//! One client's WebSocket: what it says goes to the machine, what waits in its outbox goes to it. Never waits
//! for a client longer than a fixed time.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use kollator_core::node::front::{ClientId, Front, FrontInput};
use tokio::time::timeout;
use tracing::debug;

use super::outbox::{Next, Outbox};
use crate::driver::Handle;

/// Longest wait for the network to take a message.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the other side's part in closing.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Most bytes of a reason in a close frame (RFC 6455, 5.5).
const MAX_REASON: usize = 123;

/// Carries messages both ways until either side ends it. The machine hears of the beginning and the end.
pub(super) async fn run(
    mut socket: WebSocket,
    client: ClientId,
    ip: IpAddr,
    outbox: &Outbox,
    handle: &Handle<Front>,
) {
    if handle.send(FrontInput::Connected { client, ip }).await.is_err() {
        return;
    }
    let ending = carry(&mut socket, client, outbox, handle).await;
    debug!(client = client.0, %ip, ?ending, "client gone");
    // An error says that the machine has stopped.
    let _ = handle.send(FrontInput::Disconnected { client }).await;
    if let Ending::Ours { code, reason } = ending {
        close(&mut socket, code, &reason).await;
    }
}

/// Why a conversation is over.
#[derive(Debug)]
enum Ending {
    /// We close.
    Ours { code: u16, reason: String },
    /// The client closed, or the connection is lost.
    Theirs,
}

async fn carry(socket: &mut WebSocket, client: ClientId, outbox: &Outbox, handle: &Handle<Front>) -> Ending {
    loop {
        tokio::select! {
            next = outbox.next() => match next {
                Next::Text(text) => {
                    let written = timeout(WRITE_TIMEOUT, socket.send(Message::Text(text.into())));
                    tokio::select! {
                        result = written => if !matches!(result, Ok(Ok(()))) {
                            return Ending::Theirs;
                        },
                        () = outbox.cut() => return Ending::Theirs,
                    }
                }
                Next::Close(reason) => return Ending::Ours { code: close_code::POLICY, reason },
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    if handle.send(FrontInput::Message { client, text: text.into() }).await.is_err() {
                        return Ending::Ours { code: close_code::AWAY, reason: "this front has stopped".to_owned() };
                    }
                }
                Some(Ok(Message::Binary(_))) => {
                    let reason = "messages are text".to_owned();
                    return Ending::Ours { code: close_code::UNSUPPORTED, reason };
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ending::Theirs,
            },
        }
    }
}

/// Says why, then reads on until the other side has closed too: closing a socket that has unread data would
/// reset the connection, and the reason would be lost.
async fn close(socket: &mut WebSocket, code: u16, reason: &str) {
    let reason = reason[..reason.floor_char_boundary(MAX_REASON)].into();
    let farewell = async {
        if socket.send(Message::Close(Some(CloseFrame { code, reason }))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    // Whoever does not take part in it is left behind.
    let _ = timeout(CLOSE_TIMEOUT, farewell).await;
}
