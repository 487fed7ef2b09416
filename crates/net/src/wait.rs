//! Waiting until a socket has something to receive.

use std::io;
use std::time::Duration;

use crate::Socket;

/// Waits for any of some sockets.
pub struct Waiter<'a> {
    sockets: &'a [Socket],
    #[cfg(unix)]
    polled: Box<[libc::pollfd]>,
}

#[cfg(unix)]
impl<'a> Waiter<'a> {
    /// For these sockets.
    pub fn new(sockets: &'a [Socket]) -> Self {
        use std::os::fd::AsRawFd;
        let polled = sockets.iter().map(|socket| libc::pollfd {
            fd: socket.as_std().as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        });
        Self { sockets, polled: polled.collect() }
    }

    /// Waits until at least one socket is ready or `timeout` (cut to whole milliseconds) has
    /// passed. A signal may end it early.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        let timeout_ms = libc::c_int::try_from(timeout.as_millis()).unwrap_or(libc::c_int::MAX);
        let count = self.polled.len() as libc::nfds_t;
        // SAFETY: `polled` is a live, exclusively borrowed allocation of `count` entries, and the
        // kernel writes nothing but their `revents`. That their descriptors are open is held by the
        // borrow in `sockets`.
        let result = unsafe { libc::poll(self.polled.as_mut_ptr(), count, timeout_ms) };
        if result >= 0 {
            return Ok(());
        }
        for polled in &mut self.polled {
            polled.revents = 0;
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(error),
        }
    }

    /// Whether the last wait found the socket at `index` ready: something, or an error, is there.
    pub fn is_ready(&self, index: usize) -> bool {
        debug_assert!(self.polled.len() == self.sockets.len());
        self.polled[index].revents != 0
    }
}

#[cfg(not(unix))]
impl<'a> Waiter<'a> {
    /// For these sockets.
    pub fn new(sockets: &'a [Socket]) -> Self {
        Self { sockets }
    }

    /// Waits for a millisecond, or `timeout` if that is less.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        std::thread::sleep(timeout.min(Duration::from_millis(1)));
        Ok(())
    }

    /// Whether the socket at `index` may be ready: always.
    pub fn is_ready(&self, index: usize) -> bool {
        index < self.sockets.len()
    }
}
