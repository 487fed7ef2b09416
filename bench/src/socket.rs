//! What the standard library does not reach: datagrams in batches, CPU affinity, namespaces.
//!
//! The only file of the benchmarks with unsafe code. Linux only. Deliberately not built on
//! `peerage-net`: the yardstick must not share the code it measures.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::ptr;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Most bytes of a datagram either way: a reply to a scrape of 74 has 896, a request 1496.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 2048;
/// Most datagrams handed to the kernel in one call.
pub(crate) const BATCH_MAX: usize = 64;

/// Room for one control message: a header of 16 bytes and at most an `in6_pktinfo` of 20.
const CONTROL_BYTES: usize = 40;

const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();

/// A UDP socket that sends and receives in batches.
pub(crate) struct Datagrams {
    socket: Socket,
}

/// Whether a call may wait for the first datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Returns once there is at least one datagram.
    ForOne,
    /// Returns at once.
    Never,
}

impl Datagrams {
    /// Binds a socket whose buffers hold up to `buffer_bytes` in each direction, as far as the
    /// kernel allows (without a word where it allows less: a loss is counted by the caller).
    pub(crate) fn bind(address: SocketAddr, buffer_bytes: usize) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
            // Sources of a routed /64 are local without being configured one by one.
            socket.set_freebind_v6(true)?;
        }
        socket.bind(&SockAddr::from(address))?;
        force_buffers(&socket, buffer_bytes);
        Ok(Self { socket })
    }

    /// Fills `batch` with what has arrived; 0 where nothing has.
    pub(crate) fn receive(&self, batch: &mut Batch, wait: Wait) -> io::Result<usize> {
        batch.prepare_receive();
        let flags = if wait == Wait::ForOne { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        // SAFETY: `prepare_receive` pointed all BATCH_MAX headers at buffers of `batch`, of the
        // lengths stated, which outlive the call and are borrowed exclusively during it.
        let count = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                batch.headers.as_mut_ptr(),
                BATCH_MAX as libc::c_uint,
                flags as _,
                ptr::null_mut(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                // A refused datagram of an earlier send; the next call reads on.
                io::ErrorKind::ConnectionRefused => Ok(0),
                _ => Err(error),
            };
        }
        let count = count as usize;
        batch.unprepared = count;
        for index in 0..count {
            batch.lengths[index] = batch.headers[index].msg_len as usize;
        }
        batch.count = count;
        Ok(count)
    }

    /// Sends what `batch` holds and empties it. Says how many went out: the rest did not fit
    /// into the send buffer and counts as lost.
    pub(crate) fn send(&self, batch: &mut Batch) -> io::Result<usize> {
        let count = mem::take(&mut batch.count);
        batch.prepare_send(count);
        let mut sent = 0;
        while sent < count {
            // SAFETY: `prepare_send` pointed the first `count` headers at initialised buffers of
            // `batch` that outlive the call; `sent < count`, so the slice is within them.
            let result = unsafe {
                libc::sendmmsg(
                    self.socket.as_raw_fd(),
                    batch.headers[sent..].as_mut_ptr(),
                    (count - sent) as libc::c_uint,
                    0,
                )
            };
            if result > 0 {
                sent += result as usize;
                continue;
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => {}
                io::ErrorKind::WouldBlock => break,
                _ => return Err(error),
            }
        }
        Ok(sent)
    }
}

/// Up to [`BATCH_MAX`] datagrams with their addresses, in memory that is allocated once.
pub(crate) struct Batch {
    bytes: Box<[[u8; DATAGRAM_BYTES_MAX]]>,
    lengths: Box<[usize]>,
    names: Box<[Name]>,
    controls: Box<[Control]>,
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    count: usize,
    /// Headers below this index were used since they were last made ready to receive.
    unprepared: usize,
}

/// An address in the form the kernel takes. Built once where many datagrams go to one address.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    storage: libc::sockaddr_in6,
    length: libc::socklen_t,
}

impl Name {
    const EMPTY: Self = Self {
        // SAFETY: all zero is a valid `sockaddr_in6`: it holds integers only.
        storage: unsafe { MaybeUninit::zeroed().assume_init() },
        length: 0,
    };

    /// The name of `address`.
    pub(crate) fn new(address: SocketAddr) -> Self {
        let address = SockAddr::from(address);
        let length = address.len();
        let mut name = Self { length, ..Self::EMPTY };
        assert!(length as usize <= size_of::<libc::sockaddr_in6>());
        // SAFETY: `address` holds `length` bytes, and so does `storage` by the assertion; the two
        // are different objects.
        unsafe {
            ptr::copy_nonoverlapping(
                address.as_ptr().cast::<u8>(),
                (&raw mut name.storage).cast::<u8>(),
                length as usize,
            );
        }
        name
    }
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control {
    bytes: [u8; CONTROL_BYTES],
    length: usize,
}

impl Batch {
    /// An empty batch.
    pub(crate) fn new() -> Self {
        let control = Control { bytes: [0; CONTROL_BYTES], length: 0 };
        let vector = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        // SAFETY: all zero is a valid `mmsghdr`: null pointers and integers.
        let header: libc::mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        Self {
            bytes: vec![[0; DATAGRAM_BYTES_MAX]; BATCH_MAX].into(),
            lengths: vec![0; BATCH_MAX].into(),
            names: vec![Name::EMPTY; BATCH_MAX].into(),
            controls: vec![control; BATCH_MAX].into(),
            headers: vec![header; BATCH_MAX].into(),
            vectors: vec![vector; BATCH_MAX].into(),
            count: 0,
            unprepared: BATCH_MAX,
        }
    }

    /// Datagrams held.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether no datagram can be added.
    pub(crate) fn is_full(&self) -> bool {
        self.count == BATCH_MAX
    }

    /// The datagram at `index`, as received.
    pub(crate) fn datagram(&self, index: usize) -> &[u8] {
        &self.bytes[index][..self.lengths[index]]
    }

    /// Where the datagram at `index` came from.
    pub(crate) fn name(&self, index: usize) -> Name {
        self.names[index]
    }

    /// Adds a datagram to `to`: `write` fills the buffer and says how many bytes it used.
    /// The batch must not be full.
    pub(crate) fn push(
        &mut self,
        to: Name,
        write: impl FnOnce(&mut [u8; DATAGRAM_BYTES_MAX]) -> usize,
    ) {
        let index = self.count;
        self.lengths[index] = write(&mut self.bytes[index]);
        self.names[index] = to;
        self.controls[index].length = 0;
        self.count = index + 1;
        self.unprepared = BATCH_MAX;
    }

    /// Makes the datagram added last leave from `source`, which must be local to the machine.
    pub(crate) fn set_source(&mut self, source: IpAddr) {
        let control = &mut self.controls[self.count - 1];
        let (level, kind, data_bytes) = match source {
            IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO, size_of::<libc::in_pktinfo>()),
            IpAddr::V6(_) => {
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, size_of::<libc::in6_pktinfo>())
            }
        };
        let length = HEADER_BYTES + data_bytes;
        control.bytes[..8].copy_from_slice(&length.to_ne_bytes());
        control.bytes[8..12].copy_from_slice(&level.to_ne_bytes());
        control.bytes[12..16].copy_from_slice(&kind.to_ne_bytes());
        let data = &mut control.bytes[HEADER_BYTES..];
        match source {
            // ifindex 0, ipi_spec_dst the source, ipi_addr unused.
            IpAddr::V4(ip) => data[4..8].copy_from_slice(&ip.octets()),
            // ipi6_addr the source, then ifindex 0.
            IpAddr::V6(ip) => data[..16].copy_from_slice(&ip.octets()),
        }
        control.length = length.next_multiple_of(8);
    }

    fn prepare_receive(&mut self) {
        for index in 0..self.unprepared {
            self.names[index].length = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            self.controls[index].length = 0;
            self.point(index, DATAGRAM_BYTES_MAX);
        }
    }

    fn prepare_send(&mut self, count: usize) {
        for index in 0..count {
            self.point(index, self.lengths[index]);
        }
    }

    /// Points the header at `index` at its buffers.
    fn point(&mut self, index: usize, length: usize) {
        self.vectors[index] =
            libc::iovec { iov_base: self.bytes[index].as_mut_ptr().cast(), iov_len: length };
        let control = &mut self.controls[index];
        let header = &mut self.headers[index].msg_hdr;
        header.msg_name = (&raw mut self.names[index].storage).cast();
        header.msg_namelen = self.names[index].length;
        header.msg_iov = &raw mut self.vectors[index];
        header.msg_iovlen = 1;
        header.msg_controllen = control.length as _;
        header.msg_control = match control.length {
            0 => ptr::null_mut(),
            _ => control.bytes.as_mut_ptr().cast(),
        };
        header.msg_flags = 0;
    }
}

/// Sets both buffers of a socket, beyond the system's limit where we may.
fn force_buffers(socket: &Socket, bytes: usize) {
    let bytes = bytes as libc::c_int;
    for (forced, plain) in
        [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
    {
        if set_option(socket, libc::SOL_SOCKET, forced, bytes).is_err() {
            // Fails only for a bad descriptor; what the kernel grants less shows up as loss.
            let _ = set_option(socket, libc::SOL_SOCKET, plain, bytes);
        }
    }
}

/// A TCP socket that will connect from `source`, with a port chosen when it connects: then a port
/// serves again for another destination, and choosing one is cheap.
pub(crate) fn stream_from(source: IpAddr) -> io::Result<Socket> {
    let address = SocketAddr::new(source, 0);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    set_option(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

fn set_option(socket: &Socket, level: i32, option: i32, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the value is a `c_int` on this stack frame, and its size is passed with it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps this thread, and the processes it starts, on one core.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    // SAFETY: all zero is a valid, empty `cpu_set_t`.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    assert!(core < libc::CPU_SETSIZE as usize, "a core number is below CPU_SETSIZE");
    // SAFETY: `core` is within the set by the assertion.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: 0 is the calling thread; the set is ours and its size is passed with it.
    let result =
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets how this thread, and the processes it starts, yield to others: -20 not at all, 19 always.
pub(crate) fn set_nice(nice: i32) -> io::Result<()> {
    // SAFETY: takes no pointers; 0 is the calling thread.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Moves this thread, and the processes it starts, into a network namespace of its own.
pub(crate) fn enter_own_network() -> io::Result<()> {
    // SAFETY: takes no pointers, and changes only what names on the network mean to this thread.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks a child to end (SIGTERM).
pub(crate) fn terminate(child: &Child) {
    // SAFETY: takes no pointers. The child is borrowed and not waited for behind our back, so its
    // id still names it, or a zombie of it.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
}

/// Makes the kernel end the child of `command` when the thread that starts it ends, however.
pub(crate) fn end_with_parent(command: &mut Command) {
    let ask = || {
        // SAFETY: takes no pointers.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM as libc::c_ulong) };
        Ok(())
    };
    // SAFETY: between fork and exec, `ask` makes one system call and neither allocates nor locks.
    unsafe { command.pre_exec(ask) };
}

/// Bytes that this process has asked the allocator for and not given back, with what the allocator
/// adds to each. Resident memory would count what is free for the next, too.
pub(crate) fn allocated_bytes() -> u64 {
    // SAFETY: mallinfo2 takes nothing and returns numbers.
    let info = unsafe { libc::mallinfo2() };
    (info.uordblks + info.hblkhd) as u64
}
