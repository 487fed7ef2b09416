//! The Linux backend: `recvmmsg` and `sendmmsg`.
//!
//! What the kernel writes about a datagram, its source and the local address asked, is kept in the
//! kernel's own form and given back unchanged (but for the interface) when it is answered: an
//! answer needs no address made and no copy.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::ptr;

use crate::single::is_passing;
use crate::{DATAGRAM_BYTES_MAX, Received, Sent, Socket};

/// A datagram's bytes. One cache line longer than it needs to be: buffers 2048 bytes apart would
/// all start in the same two sets of a 32 KiB cache and push each other out.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Buffer([u8; DATAGRAM_BYTES_MAX + 64]);

/// A `sockaddr_in` or `sockaddr_in6`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Name([u8; NAME_BYTES]);

/// The longer of the two, and the length the kernel is told for both.
const NAME_BYTES: usize = size_of::<libc::sockaddr_in6>();

/// Room for one control message: an `in_pktinfo` takes 32 bytes with its header, an `in6_pktinfo`
/// 40.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 48]);

/// What the kernel wrote about a datagram.
#[derive(Clone, Copy, Default)]
struct Filled {
    length: u16,
    /// Bytes of its [`Control`] to give back; 0 where nothing is.
    control_bytes: u8,
    truncated: bool,
}

/// Arguments of a system call. The pointers in them are written before, and read during, that call
/// and at no other time.
struct Headers {
    messages: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
}

// SAFETY: the pointers are not followed between calls (see the type), so it does not matter on
// which thread they lie.
unsafe impl Send for Headers {}

pub(crate) struct Batch {
    buffers: Box<[Buffer]>,
    names: Box<[Name]>,
    controls: Box<[Control]>,
    filled: Box<[Filled]>,
    count: usize,
    headers: Headers,
}

impl Headers {
    fn new(count: usize) -> Self {
        // SAFETY: an `mmsghdr` is integers and raw pointers, for which zero bytes are a valid
        // value.
        let message = unsafe { std::mem::zeroed::<libc::mmsghdr>() };
        let vector = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Self { messages: vec![message; count].into(), vectors: vec![vector; count].into() }
    }
}

impl Batch {
    pub(crate) fn new(datagrams_max: u16) -> Self {
        let count = usize::from(datagrams_max);
        Self {
            buffers: vec![Buffer([0; DATAGRAM_BYTES_MAX + 64]); count].into(),
            names: vec![Name([0; NAME_BYTES]); count].into(),
            controls: vec![Control([0; size_of::<Control>()]); count].into(),
            filled: vec![Filled::default(); count].into(),
            count: 0,
            headers: Headers::new(count),
        }
    }

    pub(crate) fn receive(&mut self, socket: &Socket) -> io::Result<usize> {
        self.count = 0;
        let Headers { messages, vectors } = &mut self.headers;
        let parts = messages.iter_mut().zip(vectors.iter_mut()).zip(self.buffers.iter_mut());
        let about = self.names.iter_mut().zip(self.controls.iter_mut());
        for (((message, vector), buffer), (name, control)) in parts.zip(about) {
            vector.iov_base = buffer.0.as_mut_ptr().cast();
            vector.iov_len = DATAGRAM_BYTES_MAX;
            let header = &mut message.msg_hdr;
            header.msg_name = name.0.as_mut_ptr().cast();
            header.msg_namelen = NAME_BYTES as libc::socklen_t;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = size_of::<Control>() as _;
            header.msg_flags = 0;
        }
        let fd = socket.as_std().as_raw_fd();
        let (first, count) = (messages.as_mut_ptr(), messages.len() as libc::c_uint);
        // SAFETY: `first` points to `count` headers, all written above. Each names one vector, a
        // buffer, a name and a control block, all live and exclusively borrowed through `self` for
        // the time of the call, each with its own size or less. The timeout is none.
        let result = unsafe { libc::recvmmsg(fd, first, count, 0, ptr::null_mut()) };
        if result < 0 {
            let error = io::Error::last_os_error();
            return if is_passing(&error) { Ok(0) } else { Err(error) };
        }
        self.count = result as usize;
        self.read_back();
        Ok(self.count)
    }

    /// Takes what the kernel wrote into the headers over to `filled`, and the interface out of the
    /// control blocks.
    fn read_back(&mut self) {
        let messages = &self.headers.messages[..self.count];
        for ((filled, message), control) in
            self.filled.iter_mut().zip(messages).zip(&mut self.controls)
        {
            let header = &message.msg_hdr;
            let truncated = header.msg_flags & libc::MSG_TRUNC != 0;
            #[allow(clippy::unnecessary_cast, reason = "32 bits wide with musl")]
            let control_bytes = control.prepare(header.msg_controllen as usize);
            *filled = Filled { length: message.msg_len as u16, control_bytes, truncated };
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn datagram(&self, index: usize) -> Received<'_> {
        let Filled { length, truncated, .. } = self.filled[..self.count][index];
        let bytes = if truncated { &[] } else { &self.buffers[index].0[..usize::from(length)] };
        Received { source: self.names[index].address(), bytes, truncated }
    }

    pub(crate) fn reply<'r>(
        &mut self,
        socket: &Socket,
        replies: impl Iterator<Item = (usize, &'r [u8])>,
    ) -> Sent {
        let Headers { messages, vectors } = &mut self.headers;
        let mut count = 0;
        for (((index, bytes), message), vector) in
            replies.zip(messages.iter_mut()).zip(vectors.iter_mut())
        {
            let filled = self.filled[..self.count][index];
            vector.iov_base = bytes.as_ptr().cast_mut().cast();
            vector.iov_len = bytes.len();
            let header = &mut message.msg_hdr;
            let name = &mut self.names[index];
            header.msg_name = name.0.as_mut_ptr().cast();
            header.msg_namelen = name.length();
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = self.controls[index].0.as_mut_ptr().cast();
            header.msg_controllen = usize::from(filled.control_bytes) as _;
            header.msg_flags = 0;
            count += 1;
        }
        // SAFETY: the first `count` headers were written above. What they name, `vectors`, `names`
        // and `controls`, is borrowed through `self` until after the call; the replies' bytes live
        // for `'r`, which is longer.
        unsafe { send(socket, &mut messages[..count]) }
    }
}

/// Sends all `messages` in as few calls as can be.
///
/// # Safety
///
/// Each header names one vector, a name and a control block, all live and unchanged for the time of
/// the call and as long as the header says; so are the bytes its vector names.
unsafe fn send(socket: &Socket, messages: &mut [libc::mmsghdr]) -> Sent {
    let fd = socket.as_std().as_raw_fd();
    let mut sent = Sent::default();
    let mut done = 0;
    while done < messages.len() {
        let rest = &mut messages[done..];
        let (first, count) = (rest.as_mut_ptr(), rest.len() as libc::c_uint);
        // SAFETY: `first` points to `count` headers, and what they name is live, as the function
        // demands. The kernel only reads it, and writes `msg_len` of the headers, which are
        // exclusively borrowed.
        let result = unsafe { libc::sendmmsg(fd, first, count, 0) };
        if result >= 0 {
            let taken = &rest[..result as usize];
            sent.datagrams += taken.len() as u64;
            sent.bytes += taken.iter().map(|message| u64::from(message.msg_len)).sum::<u64>();
            done += taken.len();
            continue;
        }
        match io::Error::last_os_error() {
            error if error.kind() == ErrorKind::Interrupted => {}
            // No room for this one, nor for those after it.
            error if error.kind() == ErrorKind::WouldBlock || is_no_buffers(&error) => {
                sent.failed += rest.len() as u64;
                break;
            }
            // Something is wrong with the first of them: no route, port 0, a firewall.
            _ => {
                sent.failed += 1;
                done += 1;
            }
        }
    }
    sent
}

fn is_no_buffers(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}

impl Name {
    fn family(&self) -> libc::c_int {
        libc::c_int::from(u16::from_ne_bytes([self.0[0], self.0[1]]))
    }

    fn length(&self) -> libc::socklen_t {
        let bytes = match self.family() {
            libc::AF_INET => size_of::<libc::sockaddr_in>(),
            _ => size_of::<libc::sockaddr_in6>(),
        };
        bytes as libc::socklen_t
    }

    fn address(&self) -> SocketAddr {
        let port = u16::from_be_bytes([self.0[2], self.0[3]]);
        match self.family() {
            libc::AF_INET => {
                SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::from(self.bytes::<4>(4)), port))
            }
            _ => SocketAddr::V6(SocketAddrV6::new(
                Ipv6Addr::from(self.bytes::<16>(8)),
                port,
                u32::from_be_bytes(self.bytes(4)),
                u32::from_ne_bytes(self.bytes(24)),
            )),
        }
    }

    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        *self.0[at..].first_chunk().expect("an address's fields lie within it")
    }
}

impl Control {
    /// Makes the control block the kernel filled with `bytes` bytes one to answer with, and tells
    /// how many bytes of it are; 0 when it holds no address.
    ///
    /// The interface is taken out: the answer leaves by the route to its receiver, which need not
    /// be the way the request came. Only a link-local address means nothing without its interface.
    /// The padding at the end is left off: without it the block fits what the kernel has on its
    /// stack, with it an IPv6 one takes an allocation there.
    fn prepare(&mut self, bytes: usize) -> u8 {
        // As the kernel has it: the length in a word of the machine, then level and type.
        const HEADER: usize = size_of::<libc::cmsghdr>();
        const WORD: usize = size_of::<usize>();
        if bytes <= HEADER {
            return 0;
        }
        let int = |at: usize| self.0[at..].first_chunk().map(|word| i32::from_ne_bytes(*word));
        let (interface, length) = match (int(WORD), int(WORD + 4)) {
            (Some(libc::IPPROTO_IP), Some(libc::IP_PKTINFO)) => {
                (HEADER, HEADER + size_of::<libc::in_pktinfo>())
            }
            (Some(libc::IPPROTO_IPV6), Some(libc::IPV6_PKTINFO)) => {
                (HEADER + 16, HEADER + size_of::<libc::in6_pktinfo>())
            }
            _ => return 0,
        };
        let link_local =
            interface != HEADER && self.0[HEADER] == 0xfe && self.0[HEADER + 1] & 0xc0 == 0x80;
        if !link_local {
            self.0[interface..interface + 4].fill(0);
        }
        length as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A control block as the kernel writes it, with the bytes of it.
    fn control(level: i32, kind: i32, data: &[u8]) -> (Control, usize) {
        const HEADER: usize = size_of::<libc::cmsghdr>();
        let mut control = Control([0xaa; 48]);
        let length = HEADER + data.len();
        control.0[..size_of::<usize>()].copy_from_slice(&length.to_ne_bytes());
        control.0[HEADER - 8..HEADER - 4].copy_from_slice(&level.to_ne_bytes());
        control.0[HEADER - 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        control.0[HEADER..length].copy_from_slice(data);
        (control, length.next_multiple_of(size_of::<usize>()))
    }

    #[test]
    fn interface_is_taken_out_of_what_is_given_back() {
        let info = [3, 0, 0, 0, 127, 0, 0, 2, 127, 0, 0, 2];
        let (mut control, bytes) = control(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        let kept = usize::from(control.prepare(bytes));
        assert_eq!(kept, size_of::<libc::cmsghdr>() + info.len());
        assert_eq!(control.0[kept - 12..kept], [0, 0, 0, 0, 127, 0, 0, 2, 127, 0, 0, 2]);
    }

    #[test]
    fn link_local_address_keeps_its_interface() {
        for (first, interface) in [([0xfe, 0x80], 3), ([0xfe, 0xbf], 3), ([0x20, 0x01], 0)] {
            let mut info = [0; 20];
            info[..2].copy_from_slice(&first);
            info[15] = 7;
            info[16] = 3;
            let (mut control, bytes) = control(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            let kept = usize::from(control.prepare(bytes));
            info[16] = interface;
            assert_eq!(control.0[kept - 20..kept], info);
        }
    }

    #[test]
    fn block_without_an_address_is_not_given_back() {
        let (mut other, bytes) = control(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &[1, 0, 0, 0]);
        assert_eq!(other.prepare(bytes), 0);
        assert_eq!(other.prepare(0), 0);
    }

    #[test]
    fn names_are_read_as_the_kernel_writes_them() {
        for address in ["192.0.2.7:6969", "[2001:db8::7%5]:6881", "[::1]:1"] {
            let address: SocketAddr = address.parse().unwrap();
            let written = socket2::SockAddr::from(address);
            let mut name = Name([0; NAME_BYTES]);
            match address {
                SocketAddr::V4(v4) => {
                    name.0[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                    name.0[2..4].copy_from_slice(&v4.port().to_be_bytes());
                    name.0[4..8].copy_from_slice(&v4.ip().octets());
                }
                SocketAddr::V6(v6) => {
                    name.0[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                    name.0[2..4].copy_from_slice(&v6.port().to_be_bytes());
                    name.0[8..24].copy_from_slice(&v6.ip().octets());
                    name.0[24..].copy_from_slice(&v6.scope_id().to_ne_bytes());
                }
            }
            assert_eq!(name.address(), address);
            assert_eq!(name.length(), written.len());
        }
    }
}
