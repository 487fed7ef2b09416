//! One connection: what was read, what is to be sent, and what is to become of it.
//!
//! A connection that waits holds no buffer. It reads into its worker's, and keeps for itself only
//! the start of a request whose rest has not come, and the end of a reply that found no room.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;
use peerage_proto::http::{HEAD_BYTES_MAX, HeadEnd, HeadError, write_error};
use peerage_proto::proxy::{self, Source};
use peerage_proto::{Family, gazelle};
use peerage_swarm::Now;
use peerage_tracker::http::{Awaited, Endpoint, Handled, Stream};
use socket2::SockRef;

use super::late::Patience;
use super::{Settings, Status};
use crate::latency::Timer;

/// A worker's buffer to read into: what a connection may have kept, and as much again.
pub(super) const INPUT_BYTES: usize = 2 * HEAD_BYTES_MAX;

/// Once so many bytes wait to be sent, the rest of a pipeline has to wait. A connection holds this
/// and one reply at most.
const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// Reads in one go, so that one client that sends without end does not hold up the others.
const READS_MAX: u32 = 4;

/// What is read of a connection that was told to close, at most, before it is cut off.
const DRAIN_BYTES_MAX: usize = 256 << 10;

/// How long a connection that was told to close may take to do so.
const DRAIN_TIME: std::time::Duration = std::time::Duration::from_secs(2);

const _: () = assert!(proxy::HEADER_BYTES_MAX < INPUT_BYTES);

/// What a worker answers a connection with; its buffers are used again for the next one.
pub(super) struct Desk<'a> {
    pub(super) endpoint: &'a mut Endpoint,
    pub(super) settings: &'a Settings,
    pub(super) status: &'a Status,
    /// [`INPUT_BYTES`] long.
    pub(super) input: &'a mut [u8],
    /// Empty but while one connection is served.
    pub(super) output: &'a mut Vec<u8>,
    /// Which reads are timed until their replies are sent.
    pub(super) timer: &'a mut Timer,
    /// Whether a reply may be left for later.
    pub(super) patience: Patience,
    pub(super) now: Now,
}

/// What is to become of a connection.
#[derive(Clone, Copy)]
pub(super) enum Next {
    /// It waits for readiness.
    Wait,
    /// It had its turn and there may be more, which readiness has told of already.
    Again,
    /// It is done with: dropping it closes it.
    Gone,
    /// What it asks for is not answered here; what was read is in [`Connection::into_parts`].
    HandOver,
    /// The head of the reply is in [`Connection::into_parts`]; the body is to follow.
    FullScrape(Stream),
    /// Its next reply waits for what other nodes know, until [`Connection::wake`].
    Late(Awaited),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A PROXY header comes first.
    Proxy,
    /// Requests are read and answered.
    Open,
    /// What was read holds more requests; they are answered when what is unsent has been sent.
    Paused,
    /// What was read begins with an announce whose reply waits for what other nodes know.
    Late,
    /// It has waited long enough, or need not wait any more.
    Due,
    /// To be handed over when what is unsent has been sent.
    HandOver,
    /// To be closed when what is unsent has been sent.
    Close,
    /// As [`Phase::Close`], but the client may still be sending: what it sends is read and dropped.
    /// To close with something unread is to reset, and a reset takes away what the client has not
    /// read yet.
    Linger,
    /// Told to close; so many bytes are read and dropped before it is cut off.
    Drain(usize),
}

/// Why a connection is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// No request came in time, not even its start.
    Idle,
    /// The start of a request came, and not the rest.
    Request,
    /// The client does not take in the reply, or does not close.
    Sending,
}

/// What became of the requests in a buffer.
enum Answered {
    /// All whole ones.
    All,
    /// Some, and that is enough for now.
    Enough,
    /// The last of them closes the connection, and a body may be on its way after it.
    Closing,
    /// The last of them closes the connection, and it has no body.
    ClosingWhole,
    Elsewhere,
    FullScrape(Stream),
    /// The rest is to wait for what other nodes know.
    Late(Awaited),
}

pub(super) struct Connection {
    stream: TcpStream,
    source: SocketAddr,
    /// Of the other end itself, whomever it speaks for.
    family: Family,
    phase: Phase,
    /// Readiness has told that the client sends no more.
    read_closed: bool,
    /// Its worker has it on the list of those that have more to do.
    pub(super) queued: bool,
    head_end: HeadEnd,
    /// Read, and not answered: the start of a request, at most [`INPUT_BYTES`].
    unread: Vec<u8>,
    /// Answered, and not sent, from `sent` on.
    unsent: Vec<u8>,
    sent: usize,
    deadline: Now,
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        source: SocketAddr,
        now: Now,
        settings: &Settings,
    ) -> Self {
        let source = SocketAddr::new(source.ip().to_canonical(), source.port());
        let proxied = settings.proxied.is_from(source.ip());
        Self {
            stream,
            source,
            family: Family::of(source.ip()),
            phase: if proxied { Phase::Proxy } else { Phase::Open },
            read_closed: false,
            queued: false,
            head_end: HeadEnd::default(),
            unread: Vec::new(),
            unsent: Vec::new(),
            sent: 0,
            deadline: now + settings.timeout,
        }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Whether it waits for room to send, and not for something to read.
    pub(super) fn is_sending(&self) -> bool {
        self.sent < self.unsent.len()
    }

    /// The client sends no more: what is left is to be read to its end, readiness will not tell of
    /// it again.
    pub(super) fn set_read_closed(&mut self) {
        self.read_closed = true;
    }

    /// Why it is to be ended; `None` before its deadline.
    pub(super) fn overdue(&self, now: Now) -> Option<Overdue> {
        if now <= self.deadline {
            return None;
        }
        Some(match self.phase {
            // It is not the client that takes its time.
            Phase::Late | Phase::Due if !self.is_sending() => return None,
            Phase::Proxy | Phase::Open if self.is_sending() => Overdue::Sending,
            Phase::Proxy | Phase::Open if self.unread.is_empty() => Overdue::Idle,
            Phase::Proxy | Phase::Open => Overdue::Request,
            _ => Overdue::Sending,
        })
    }

    /// The stream, what was read and not answered, what was answered and not sent, the source.
    pub(super) fn into_parts(mut self) -> (TcpStream, Vec<u8>, Vec<u8>, SocketAddr) {
        self.unsent.drain(..self.sent);
        (self.stream, self.unread, self.unsent, self.source)
    }

    /// The reply that waits is to be written when the connection is served next.
    pub(super) fn wake(&mut self) {
        if self.phase == Phase::Late {
            self.phase = Phase::Due;
        }
    }

    /// Reads what is there, answers it and sends the answers, within bounds.
    pub(super) fn serve(&mut self, desk: &mut Desk<'_>) -> Next {
        debug_assert!(desk.output.is_empty());
        for _ in 0..READS_MAX {
            if self.flush(desk).is_err() {
                return Next::Gone;
            }
            if self.is_sending() {
                return Next::Wait;
            }
            let kept = self.unread.len();
            let read = match self.phase {
                Phase::Proxy | Phase::Open => match self.stream.read(&mut desk.input[kept..]) {
                    Ok(0) => return Next::Gone,
                    Ok(read) => read,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Next::Wait,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(_) => return Next::Gone,
                },
                Phase::Paused | Phase::Due => 0,
                Phase::Late => return Next::Wait,
                Phase::HandOver => return Next::HandOver,
                Phase::Close => return Next::Gone,
                Phase::Linger => return self.linger(desk),
                Phase::Drain(bytes_left) => return self.drain(desk, bytes_left),
            };
            // A read that gives less than it could was the last for now, and readiness tells of
            // more; on Windows it does so only once a read has found nothing.
            let has_read = matches!(self.phase, Phase::Proxy | Phase::Open);
            let drained = has_read && kept + read < desk.input.len() && cfg!(unix);
            desk.status.of(self.family).bytes_in.add(read as u64);
            desk.input[..kept].copy_from_slice(&self.unread);
            let timed = desk.timer.begin().map(|begun| (begun, desk.status.replied()));
            let next = self.answer(desk, kept + read, drained);
            if let Some((begun, replied)) = timed {
                desk.status.latency.add(begun.elapsed(), desk.status.replied() - replied);
            }
            match next {
                Next::Wait if self.is_sending() => return Next::Wait,
                Next::Wait if drained && self.phase == Phase::Open && !self.read_closed => {
                    return Next::Wait;
                }
                Next::Wait => {}
                next => return next,
            }
        }
        Next::Again
    }

    /// Answers what the first `filled` bytes of the input hold, and sends the answers.
    fn answer(&mut self, desk: &mut Desk<'_>, filled: usize, drained: bool) -> Next {
        let begun = !self.unread.is_empty();
        self.unread.clear();
        let mut at = 0;
        if self.phase == Phase::Proxy {
            match proxy::parse(&desk.input[..filled]) {
                Ok(None) => {
                    self.unread.extend_from_slice(&desk.input[..filled]);
                    return Next::Wait;
                }
                Ok(Some(header)) => {
                    at = header.bytes;
                    if let Source::Client(source) = header.source {
                        self.source = source;
                    }
                }
                Err(_) => {
                    desk.status.bad_proxy_headers.add(1);
                    return Next::Gone;
                }
            }
        }
        let is_due = std::mem::replace(&mut self.phase, Phase::Open) == Phase::Due;
        let due = if is_due { Patience::Over } else { desk.patience };
        let requests_at = at;
        let answered = self.answer_requests(desk, due, &mut at, filled);
        match at < filled {
            true => self.unread.extend_from_slice(&desk.input[at..filled]),
            // What waits between two requests holds no memory.
            false => self.unread = Vec::new(),
        }
        match (self.unread.is_empty(), at > requests_at) {
            (true, true) => self.deadline = desk.now + desk.settings.idle_timeout,
            (false, answered) if answered || !begun => {
                self.deadline = desk.now + desk.settings.timeout;
            }
            _ => {}
        }
        match answered {
            Answered::All => self.send(desk, More::MayFollow),
            Answered::Enough => {
                self.phase = Phase::Paused;
                self.send(desk, More::MayFollow)
            }
            Answered::ClosingWhole if drained && self.unread.is_empty() => {
                self.phase = Phase::Close;
                self.send(desk, More::EndFollows)
            }
            Answered::Closing | Answered::ClosingWhole => {
                self.phase = Phase::Linger;
                self.send(desk, More::MayFollow)
            }
            Answered::Elsewhere => {
                self.phase = Phase::HandOver;
                self.send(desk, More::MayFollow)
            }
            Answered::FullScrape(stream) => {
                self.unsent.append(desk.output);
                Next::FullScrape(stream)
            }
            Answered::Late(awaited) => {
                self.phase = Phase::Late;
                match self.send(desk, More::MayFollow) {
                    Next::Wait => Next::Late(awaited),
                    gone => gone,
                }
            }
        }
    }

    /// Answers the requests in the input from `at` on, and leaves `at` where the first one begins
    /// that is not answered. `patience` is for the first of them.
    fn answer_requests(
        &mut self,
        desk: &mut Desk<'_>,
        mut patience: Patience,
        at: &mut usize,
        filled: usize,
    ) -> Answered {
        let head_bytes_max = desk.settings.head_bytes_max;
        while desk.output.len() < OUTPUT_BYTES_MAX {
            let rest = &desk.input[*at..filled];
            if desk.settings.site && gazelle::is_request(rest) {
                return Answered::Elsewhere;
            }
            let head_bytes = match self.head_end.find(rest) {
                Ok(None) if rest.len() < head_bytes_max => return Answered::All,
                Ok(Some(head_bytes)) if head_bytes <= head_bytes_max => head_bytes,
                Ok(_) => return refuse(desk, HeadError::HeadTooLong),
                Err(error) => return refuse(desk, error),
            };
            let start = desk.output.len();
            let head = &rest[..head_bytes];
            let Desk { endpoint, now, output, .. } = desk;
            let source = self.source.ip();
            let handled = match std::mem::replace(&mut patience, desk.patience) {
                Patience::None => endpoint.handle(*now, source, head, output),
                Patience::Over => endpoint.handle_late(*now, source, head, output),
                Patience::Some => match endpoint.handle_patiently(*now, source, head, output) {
                    Ok(handled) => handled,
                    Err(awaited) => return Answered::Late(awaited),
                },
            };
            if handled == Handled::Elsewhere {
                return Answered::Elsewhere;
            }
            desk.status.count_reply(&desk.output[start..]);
            *at += head_bytes;
            match handled {
                Handled::KeepAlive => {}
                Handled::FullScrape(stream) => return Answered::FullScrape(stream),
                Handled::Close if has_no_body(head) => return Answered::ClosingWhole,
                Handled::Close | Handled::Elsewhere => return Answered::Closing,
            }
        }
        Answered::Enough
    }

    /// Sends the output; what finds no room is kept.
    fn send(&mut self, desk: &mut Desk<'_>, more: More) -> Next {
        let sent = match (desk.output.is_empty(), more) {
            (true, _) => Ok(0),
            (false, More::MayFollow) => self.stream.write(desk.output),
            (false, More::EndFollows) => {
                SockRef::from(&self.stream).send_with_flags(desk.output, END_FOLLOWS)
            }
        };
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) if is_passing(&error) => 0,
            Err(_) => return Next::Gone,
        };
        desk.status.of(self.family).bytes_out.add(sent as u64);
        self.unsent.extend_from_slice(&desk.output[sent..]);
        desk.output.clear();
        if self.is_sending() {
            self.deadline = desk.now + desk.settings.timeout;
            return Next::Wait;
        }
        match self.phase {
            Phase::Close => Next::Gone,
            Phase::HandOver => Next::HandOver,
            _ => Next::Wait,
        }
    }

    /// Sends what is unsent, as far as there is room.
    fn flush(&mut self, desk: &Desk<'_>) -> io::Result<()> {
        if !self.is_sending() {
            return Ok(());
        }
        while self.is_sending() {
            match self.stream.write(&self.unsent[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    self.sent += sent;
                    desk.status.of(self.family).bytes_out.add(sent as u64);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.unsent = Vec::new();
        self.sent = 0;
        self.deadline = desk.now
            + match self.unread.is_empty() {
                true => desk.settings.idle_timeout,
                false => desk.settings.timeout,
            };
        Ok(())
    }

    fn linger(&mut self, desk: &mut Desk<'_>) -> Next {
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return Next::Gone;
        }
        self.unread = Vec::new();
        self.deadline = desk.now + DRAIN_TIME;
        self.drain(desk, DRAIN_BYTES_MAX)
    }

    fn drain(&mut self, desk: &mut Desk<'_>, mut bytes_left: usize) -> Next {
        for _ in 0..READS_MAX {
            match self.stream.read(desk.input) {
                Ok(read) if read != 0 && read < bytes_left => {
                    bytes_left -= read;
                    self.phase = Phase::Drain(bytes_left);
                    desk.status.of(self.family).bytes_in.add(read as u64);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.phase = Phase::Drain(bytes_left);
                    return Next::Wait;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return Next::Gone,
            }
        }
        Next::Again
    }
}

/// What follows what is sent.
#[derive(Clone, Copy)]
enum More {
    MayFollow,
    /// The end of the connection, at once: both then leave in one packet.
    EndFollows,
}

#[cfg(target_os = "linux")]
const END_FOLLOWS: i32 = libc::MSG_MORE | libc::MSG_NOSIGNAL;
#[cfg(not(target_os = "linux"))]
const END_FOLLOWS: i32 = 0;

/// Whether a request certainly ends with its head. In doubt it does not.
fn has_no_body(head: &[u8]) -> bool {
    let names_body = |line: &[u8]| {
        let begins = |name: &[u8]| {
            line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        begins(b"content-length") || begins(b"transfer-encoding")
    };
    (head.starts_with(b"GET ") || head.starts_with(b"HEAD "))
        && !head.split(|byte| *byte == b'\n').any(names_body)
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn refuse(desk: &mut Desk<'_>, error: HeadError) -> Answered {
    let start = desk.output.len();
    write_error(desk.output, error.status(), error.text());
    desk.status.count_reply(&desk.output[start..]);
    Answered::Closing
}
