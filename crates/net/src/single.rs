//! The portable backend: the standard library's `recv_from` and `send_to`, one datagram at a time.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::{DATAGRAM_BYTES_MAX, Received, Sent, Socket};

/// One byte more than a whole datagram has, so that a longer one shows.
type Buffer = [u8; DATAGRAM_BYTES_MAX + 1];

pub(crate) struct Batch {
    buffers: Box<[Buffer]>,
    /// Of each datagram received: its source and its length.
    filled: Box<[(SocketAddr, usize)]>,
    count: usize,
}

impl Batch {
    pub(crate) fn new(datagrams_max: u16) -> Self {
        let nobody = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        Self {
            buffers: vec![[0; DATAGRAM_BYTES_MAX + 1]; usize::from(datagrams_max)].into(),
            filled: vec![(nobody, 0); usize::from(datagrams_max)].into(),
            count: 0,
        }
    }

    pub(crate) fn receive(&mut self, socket: &Socket) -> io::Result<usize> {
        self.count = 0;
        for (buffer, filled) in self.buffers.iter_mut().zip(&mut self.filled) {
            match socket.as_std().recv_from(buffer) {
                Ok((length, source)) => *filled = (source, length),
                // Whatever it was, the next call will say it again if it lasts.
                Err(_) if self.count > 0 => break,
                Err(error) if is_passing(&error) => break,
                Err(error) => return Err(error),
            }
            self.count += 1;
        }
        Ok(self.count)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn datagram(&self, index: usize) -> Received<'_> {
        let (source, length) = self.filled[..self.count][index];
        let truncated = length > DATAGRAM_BYTES_MAX;
        let bytes = if truncated { &[] } else { &self.buffers[index][..length] };
        Received { source, bytes, truncated }
    }

    pub(crate) fn reply<'r>(
        &mut self,
        socket: &Socket,
        replies: impl Iterator<Item = (usize, &'r [u8])>,
    ) -> Sent {
        let mut sent = Sent::default();
        for (index, bytes) in replies.take(self.buffers.len()) {
            let (source, _) = self.filled[..self.count][index];
            match socket.as_std().send_to(bytes, source) {
                Ok(_) => {
                    sent.datagrams += 1;
                    sent.bytes += bytes.len() as u64;
                }
                Err(_) => sent.failed += 1,
            }
        }
        sent
    }
}

/// Nothing there, interrupted, or news about a datagram sent earlier (some systems report an
/// unreachable port to the next receive).
pub(crate) fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    )
}
