//! A connection of which something was already read: those bytes come first.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection, and what was read of it before.
pub(super) struct Prefixed {
    prefix: Vec<u8>,
    /// Bytes of the prefix that have been handed on; at most its length.
    taken: usize,
    stream: TcpStream,
    shorten: Shorten,
}

/// Bytes that the kernel keeps of a connection that was asked to keep few; Linux doubles it.
const SHORT_SEND_BUFFER_BYTES: usize = 32 << 10;

/// Asks a connection to have the kernel keep few bytes for a client that does not read: it would
/// grow to megabytes. From the next write on. Its copies are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Shorten(Arc<AtomicBool>);

impl Shorten {
    /// Asks.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

impl Prefixed {
    /// `prefix` is read first, then what comes from `stream`.
    pub(super) fn new(prefix: Vec<u8>, stream: TcpStream, shorten: Shorten) -> Self {
        Self { prefix, taken: 0, stream, shorten }
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.prefix[self.taken..];
        if rest.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..length]);
        self.taken += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.shorten.take() {
            // Where the system refuses, the client costs more memory.
            let _ = SockRef::from(&self.stream).set_send_buffer_size(SHORT_SEND_BUFFER_BYTES);
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
