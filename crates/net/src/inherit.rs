//! What one program hands to the next under the same process id: sockets that are bound, with
//! whatever waits in them, and a file that has no name.
//!
//! Who is started by systemd with sockets (`LISTEN_FDS`) takes them in the same way.

use std::env;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd as _, OwnedFd, RawFd};
use std::process::{self, Command};

use socket2::{SockRef, Type};

/// Process id and descriptors, as [`hand_over`] writes them, with spaces between.
const HANDED: &str = "PEERAGE_HANDED";

/// How systemd says the same: descriptors are those from 3 on.
const LISTEN_PID: &str = "LISTEN_PID";
const LISTEN_FDS: &str = "LISTEN_FDS";
const LISTEN_FIRST: RawFd = 3;

/// Most descriptors taken. One for each address, protocol and worker, and more than any machine
/// has.
const DESCRIPTORS_MAX: usize = 4096;

/// What this process was started with.
#[derive(Debug, Default)]
pub struct Inherited {
    udp: Vec<(SocketAddr, UdpSocket)>,
    tcp: Vec<(SocketAddr, TcpListener)>,
    file: Option<File>,
}

impl Inherited {
    /// Takes what the environment says is there. To be called once: what has been taken is not
    /// there again.
    ///
    /// Errors: a descriptor is none, or a socket of another kind; what is meant for another process
    /// is not looked at.
    pub fn take() -> io::Result<Self> {
        let mut inherited = Self::default();
        for number in named()? {
            inherited.add(adopt(number)?)?;
        }
        Ok(inherited)
    }

    fn add(&mut self, descriptor: OwnedFd) -> io::Result<()> {
        match SockRef::from(&descriptor).r#type() {
            Ok(Type::DGRAM) => {
                let socket = UdpSocket::from(descriptor);
                self.udp.push((socket.local_addr()?, socket));
            }
            Ok(Type::STREAM) => {
                let listener = TcpListener::from(descriptor);
                self.tcp.push((listener.local_addr()?, listener));
            }
            Ok(_) => return Err(wrong("a socket handed over is neither UDP nor TCP".to_owned())),
            // No socket at all.
            Err(_) => self.file = Some(File::from(descriptor)),
        }
        Ok(())
    }

    /// The addresses of the sockets for datagrams.
    pub fn udp_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.udp.iter().map(|(address, _)| *address)
    }

    /// The addresses of the listeners.
    pub fn tcp_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.tcp.iter().map(|(address, _)| *address)
    }

    /// The socket of that address for one of several workers, who share those that there are.
    /// `None` where the address was not handed over.
    pub fn udp(&self, address: SocketAddr, worker: usize) -> Option<io::Result<UdpSocket>> {
        share(&self.udp, address, worker, UdpSocket::try_clone)
    }

    /// The same for TCP.
    pub fn tcp(&self, address: SocketAddr, worker: usize) -> Option<io::Result<TcpListener>> {
        share(&self.tcp, address, worker, TcpListener::try_clone)
    }

    /// The file, once.
    pub fn take_file(&mut self) -> Option<File> {
        self.file.take()
    }
}

fn share<S>(
    all: &[(SocketAddr, S)],
    address: SocketAddr,
    worker: usize,
    clone: impl Fn(&S) -> io::Result<S>,
) -> Option<io::Result<S>> {
    let there: Vec<&S> = all.iter().filter(|(at, _)| *at == address).map(|(_, s)| s).collect();
    let index = worker.checked_rem(there.len())?;
    Some(clone(there[index]))
}

/// Has `command` start with `descriptors`, if it takes the place of this process (`exec`).
pub fn hand_over(command: &mut Command, descriptors: &[OwnedFd]) -> io::Result<()> {
    let mut names = process::id().to_string();
    for descriptor in descriptors {
        let number = descriptor.as_raw_fd();
        set_close_on_exec(descriptor, false)?;
        names.push_str(&format!(" {number}"));
    }
    command.env(HANDED, names).env_remove(LISTEN_PID).env_remove(LISTEN_FDS);
    Ok(())
}

/// A file in memory that has no name. Errors where the platform has none.
pub fn file_in_memory() -> io::Result<File> {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: the name is a string of C that lives as long as the program.
        let number = unsafe { libc::memfd_create(c"peerage".as_ptr(), libc::MFD_CLOEXEC) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it, and nobody else knows its number.
        Ok(File::from(unsafe { OwnedFd::from_raw_fd(number) }))
    }
    #[cfg(not(target_os = "linux"))]
    Err(ErrorKind::Unsupported.into())
}

/// The descriptors that the environment names for this process.
fn named() -> io::Result<Vec<RawFd>> {
    let this = process::id().to_string();
    if let Ok(names) = env::var(HANDED) {
        let mut words = names.split(' ');
        if words.next() == Some(&this) {
            let bad = || wrong(format!("{HANDED} must be numbers, not {names:?}"));
            return words.map(|word| word.parse().map_err(|_| bad())).collect();
        }
    }
    match (env::var(LISTEN_PID), env::var(LISTEN_FDS)) {
        (Ok(pid), Ok(count)) if pid == this => {
            let count = count.parse::<usize>().ok().filter(|count| *count <= DESCRIPTORS_MAX);
            let bad = || wrong(format!("{LISTEN_FDS} must be a number up to {DESCRIPTORS_MAX}"));
            Ok((LISTEN_FIRST..).take(count.ok_or_else(bad)?).collect())
        }
        _ => Ok(Vec::new()),
    }
}

/// Makes an inherited descriptor ours.
fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only reads the flags of the descriptor, and fails if there is none.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    // All that a Rust program opens is closed for those it starts, so that one that is not was not
    // opened here and belongs to nobody else in this process.
    if number < LISTEN_FIRST || flags < 0 || flags & libc::FD_CLOEXEC != 0 {
        return Err(wrong(format!("descriptor {number} was not handed over")));
    }
    // SAFETY: it is open, by the call above, and nobody's, by the flag; from here on it has that
    // flag, so a second call would refuse it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    set_close_on_exec(&descriptor, true)?;
    Ok(descriptor)
}

fn set_close_on_exec(descriptor: &impl AsFd, closes: bool) -> io::Result<()> {
    let flags = if closes { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: the descriptor is open for as long as it is borrowed.
    let done = unsafe { libc::fcntl(descriptor.as_fd().as_raw_fd(), libc::F_SETFD, flags) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn wrong(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_that_was_opened_here_is_not_taken() {
        let file = File::open("/dev/null").unwrap();
        assert!(adopt(file.as_raw_fd()).is_err());
        assert!(adopt(1).is_err() && adopt(9_999).is_err());
        set_close_on_exec(&file, false).unwrap();
        let copy = file.try_clone().unwrap();
        assert!(adopt(copy.as_raw_fd()).is_err(), "a copy is closed again");
    }

    #[test]
    fn workers_share_the_sockets_that_there_are() {
        let mut inherited = Inherited::default();
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let address = socket.local_addr().unwrap();
        inherited.add(socket.into()).unwrap();
        inherited.add(File::open("/dev/null").unwrap().into()).unwrap();
        for worker in 0..3 {
            let shared = inherited.udp(address, worker).expect("it is there").unwrap();
            assert_eq!(shared.local_addr().unwrap(), address);
        }
        assert!(inherited.tcp(address, 0).is_none());
        assert!(inherited.take_file().is_some() && inherited.take_file().is_none());
    }
}
