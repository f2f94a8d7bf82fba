//! One stream of bytes in each direction, encrypted, between two nodes whose keys TLS has authenticated.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use iroh::endpoint::{Connection, RecvStream, SendStream, VarInt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::NodeId;

/// What a handshake above a channel signs, so that it cannot be carried over to another channel: `exporter [32] ‖ the
/// node that dialled [32] ‖ the node that was dialled [32]`.
///
/// The exporter (RFC 8446, 7.5) is the same on both ends of one TLS session and on no other. In TLS 1.3 it is fixed
/// before the client's key is proved, which is why both node keys stand beside it.
pub type Binding = [u8; 96];

const LABEL: &[u8] = b"EXPORTER-tally/vault-sync/1";

/// One stream of bytes in each direction between two nodes.
///
/// Dropping a channel closes its connection at once and may lose what was not delivered; [`Channel::finish`] does not.
#[derive(Debug)]
pub struct Channel {
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
    peer: NodeId,
    binding: Binding,
}

impl Channel {
    pub(crate) fn new(
        connection: Connection,
        (send, recv): (SendStream, RecvStream),
        dialler: NodeId,
        dialled: NodeId,
    ) -> io::Result<Self> {
        let mut binding = [0; 96];
        connection
            .export_keying_material(&mut binding[..32], LABEL, &[])
            .map_err(|_| io::Error::other("the TLS session exports no key"))?;
        binding[32..64].copy_from_slice(dialler.as_bytes());
        binding[64..].copy_from_slice(dialled.as_bytes());
        let peer = NodeId::from_iroh(connection.remote_id());
        Ok(Self {
            connection,
            send,
            recv,
            peer,
            binding,
        })
    }

    /// The node on the other end, as TLS authenticated it.
    #[must_use]
    pub fn peer(&self) -> NodeId {
        self.peer
    }

    /// What ties a handshake to this very channel.
    #[must_use]
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// Ends the channel: waits until the peer has everything that was written, at most for `patience`, then closes.
    pub async fn finish(mut self, patience: Duration) {
        // Both fail only when the stream or the connection is gone, and then there is nothing left to wait for.
        if self.send.finish().is_ok() {
            let _ = tokio::time::timeout(patience, self.send.stopped()).await;
        }
        self.connection.close(VarInt::from_u32(0), b"");
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.recv), cx, buf)
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.send), cx)
    }
}
