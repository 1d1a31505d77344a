//! The last words on a WebSocket.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use tokio::time::timeout;

/// Longest wait for the other side's part in closing.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Most bytes of a reason in a close frame (RFC 6455, 5.5).
const MAX_REASON: usize = 123;

/// Says why, then reads on until the other side has closed too: closing a socket that has unread data would reset
/// the connection, and the reason would be lost.
pub(crate) async fn close(socket: &mut WebSocket, code: u16, reason: &str) {
    let reason = reason[..reason.floor_char_boundary(MAX_REASON)].into();
    let farewell = async {
        if socket.send(Message::Close(Some(CloseFrame { code, reason }))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    // Whoever does not take part in it is left behind.
    let _ = timeout(CLOSE_TIMEOUT, farewell).await;
}
