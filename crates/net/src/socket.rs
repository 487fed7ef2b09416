//! A UDP socket, set up the way a worker needs it.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, SockRef, Type};

/// How to set up a [`Socket`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether several sockets of this process share the address; the kernel then spreads the
    /// datagrams over them by a hash of source and destination.
    ///
    /// The kernel lets every process of the same user join: ask [`check_free`] first.
    pub shared: bool,
    /// Bytes the kernel keeps for us until they are received; `None` leaves its default. Asked for
    /// beyond the system's limit where we are privileged, else cut to it.
    pub receive_buffer_bytes: Option<usize>,
    /// Bytes the kernel keeps of what we sent; `None` leaves its default.
    pub send_buffer_bytes: Option<usize>,
}

/// A UDP socket of one family that never blocks, and whose datagrams are never cut into fragments:
/// one that is too long for its path is lost.
#[derive(Debug)]
pub struct Socket {
    socket: UdpSocket,
    local: SocketAddr,
    /// Dropped before it was handed over.
    dropped_before: u32,
}

impl Socket {
    /// Binds to `address`; port 0 lets the kernel choose. An IPv6 socket takes no IPv4 traffic.
    pub fn bind(address: SocketAddr, options: &Options) -> io::Result<Self> {
        let socket = new_socket(address)?;
        #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
        socket.set_reuse_port(options.shared)?;
        // Before it is bound, or what comes at once would find the smaller ones.
        set_buffers(&socket, options)?;
        socket.bind(&address.into())?;
        Self::set_up(UdpSocket::from(socket), 0)
    }

    /// Takes one that is bound already. One of IPv6 that takes IPv4 too is an error.
    pub fn adopt(socket: UdpSocket, options: &Options) -> io::Result<Self> {
        set_buffers(&SockRef::from(&socket), options)?;
        check_one_family(&socket)?;
        let dropped_before = dropped(&socket);
        Self::set_up(socket, dropped_before)
    }

    fn set_up(socket: UdpSocket, dropped_before: u32) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        #[cfg(target_os = "linux")]
        {
            if local.ip().is_unspecified() {
                linux::set_tell_asked_address(&socket, local)?;
            }
            linux::set_never_fragment(&socket, local)?;
        }
        Ok(Self { socket, local, dropped_before })
    }

    /// The address it is bound to, with the port the kernel chose.
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Bytes the kernel keeps for us until they are received, as granted. Linux counts its own
    /// overhead in.
    pub fn receive_buffer_bytes(&self) -> io::Result<usize> {
        SockRef::from(&self.socket).recv_buffer_size()
    }

    /// Datagrams the kernel dropped for want of room since the socket was bound or adopted, modulo
    /// 2^32; 0 where the platform does not tell. A system call: ask once a second, not once a
    /// batch.
    pub fn dropped(&self) -> u32 {
        dropped(&self.socket).wrapping_sub(self.dropped_before)
    }

    /// Another descriptor of the same socket.
    #[cfg(unix)]
    pub fn duplicate(&self) -> io::Result<std::os::fd::OwnedFd> {
        Ok(self.socket.try_clone()?.into())
    }

    pub(crate) fn as_std(&self) -> &UdpSocket {
        &self.socket
    }
}

/// Checks that a socket which shares its address with nobody could be bound to `address`. The error
/// says why not: in use, not of this machine, not permitted.
///
/// Between this and the bind that follows somebody may take the address; it costs two processes
/// started in the same instant their clear message.
pub fn check_free(address: SocketAddr) -> io::Result<()> {
    new_socket(address)?.bind(&address.into())
}

/// Checks of a socket, UDP or TCP, that one of IPv6 takes no IPv4: the other family has one of its
/// own.
pub fn check_one_family<'s>(socket: impl Into<SockRef<'s>>) -> io::Result<()> {
    let socket = socket.into();
    let address = socket.local_addr()?.as_socket();
    if address.is_some_and(|address| address.is_ipv6()) && !socket.only_v6()? {
        let what = "it takes IPv4 too: systemd makes another with BindIPv6Only=ipv6-only";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(())
}

/// Makes the kernel keep connections to itself until the client has sent something, for a second or
/// so: a server whose clients speak first is woken once a connection and not twice, and finds the
/// request there when it accepts. One that says nothing is accepted after that time all the same.
///
/// Does nothing where the platform has no such option.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "see above"))]
pub fn defer_accept(listener: &socket2::Socket) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return linux::set(listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 1);
    #[cfg(not(target_os = "linux"))]
    return Ok(());
}

/// Since the socket was made.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "nobody tells"))]
fn dropped(socket: &UdpSocket) -> u32 {
    #[cfg(target_os = "linux")]
    return linux::dropped(socket);
    #[cfg(not(target_os = "linux"))]
    return 0;
}

fn new_socket(address: SocketAddr) -> io::Result<socket2::Socket> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn set_buffers(socket: &socket2::Socket, options: &Options) -> io::Result<()> {
    if let Some(bytes) = options.receive_buffer_bytes {
        #[cfg(target_os = "linux")]
        if linux::force_buffer(socket, libc::SO_RCVBUFFORCE, bytes).is_ok() {
            return set_send_buffer(socket, options);
        }
        socket.set_recv_buffer_size(bytes)?;
    }
    set_send_buffer(socket, options)
}

fn set_send_buffer(socket: &socket2::Socket, options: &Options) -> io::Result<()> {
    if let Some(bytes) = options.send_buffer_bytes {
        #[cfg(target_os = "linux")]
        if linux::force_buffer(socket, libc::SO_SNDBUFFORCE, bytes).is_ok() {
            return Ok(());
        }
        socket.set_send_buffer_size(bytes)?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::mem::size_of_val;
    use std::net::{SocketAddr, UdpSocket};
    use std::os::fd::{AsFd, AsRawFd};

    use libc::{c_int, socklen_t};

    /// Each datagram comes with the local address it was sent to.
    pub(super) fn set_tell_asked_address(socket: &UdpSocket, local: SocketAddr) -> io::Result<()> {
        match local {
            SocketAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
            SocketAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
        }
    }

    /// Datagrams leave whole or not at all. The kernel's default says the same on the wire, but
    /// would cut a datagram that meets a narrow path, and so draws an id for each from a shared
    /// counter: 3 % of the time of a server of small datagrams.
    pub(super) fn set_never_fragment(socket: &UdpSocket, local: SocketAddr) -> io::Result<()> {
        match local {
            SocketAddr::V4(_) => {
                set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)
            }
            SocketAddr::V6(_) => {
                set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO)
            }
        }
    }

    /// Sets a buffer beyond the system's limit, which takes CAP_NET_ADMIN.
    pub(super) fn force_buffer(
        socket: &socket2::Socket,
        option: c_int,
        bytes: usize,
    ) -> io::Result<()> {
        set(socket, libc::SOL_SOCKET, option, c_int::try_from(bytes).unwrap_or(c_int::MAX / 2))
    }

    pub(super) fn dropped(socket: &UdpSocket) -> u32 {
        // As the kernel has it: nine words, the last of them the drops. A later kernel may know
        // more and gives as many as there is room for.
        const DROPS: usize = 8;
        let mut words = [0_u32; DROPS + 1];
        let mut bytes = size_of_val(&words) as socklen_t;
        let fd = socket.as_raw_fd();
        let (level, option) = (libc::SOL_SOCKET, libc::SO_MEMINFO);
        // SAFETY: the descriptor is open for as long as `socket` is borrowed; `words` is a live
        // array of `bytes` bytes for which any bit pattern is valid, and the kernel writes at most
        // `bytes` bytes to it.
        unsafe { libc::getsockopt(fd, level, option, words.as_mut_ptr().cast(), &raw mut bytes) };
        // A failed call leaves the zeros.
        words[DROPS]
    }

    pub(super) fn set(
        socket: &impl AsFd,
        level: c_int,
        option: c_int,
        value: c_int,
    ) -> io::Result<()> {
        let fd = socket.as_fd().as_raw_fd();
        let bytes = size_of_val(&value) as socklen_t;
        // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the kernel reads
        // `bytes` bytes of `value`, which is live and that long.
        let result =
            unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), bytes) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
