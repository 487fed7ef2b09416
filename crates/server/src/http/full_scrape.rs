//! Scrapes of all swarms: replies too long to be sent between two announces.
//!
//! Each has a thread of its own, which takes one piece at a time from the store, codes it and sends
//! it before it takes the next. The connection is closed at the end even if it might be kept: such
//! scrapes are too rare to be worth its way back.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use peerage_proto::http::{Encoding, Framing, LAST_CHUNK, write_chunk};
use peerage_tracker::http::{FullScrape, Progress, Stream};

use super::Status;

/// Full scrapes of one worker at a time. One more is told 503.
const RUNNING_MAX: usize = 2;

/// How long one may take; a client slower than that is cut off.
const TIME_MAX: Duration = Duration::from_secs(120);

/// How long a client may take in nothing.
const STALL_MAX: Duration = Duration::from_secs(10);

/// The full scrapes of one worker.
pub(super) struct FullScrapes {
    /// Cloned into each thread: their number is the number of clones.
    running: Arc<()>,
}

/// One full scrape.
pub(super) struct Job {
    pub(super) stream: TcpStream,
    /// Sent first: the head of the reply, and what was unsent before it.
    pub(super) head: Vec<u8>,
    pub(super) body: Stream,
    pub(super) scrape: FullScrape,
    pub(super) status: Arc<Status>,
}

impl FullScrapes {
    pub(super) fn new() -> Self {
        Self { running: Arc::default() }
    }

    /// Whether another may be started.
    pub(super) fn has_room(&self) -> bool {
        Arc::strong_count(&self.running) <= RUNNING_MAX
    }

    /// Sends it from a thread of its own, which ends within [`TIME_MAX`] and a little. Without a
    /// thread to be had, the connection is closed.
    pub(super) fn start(&self, job: Job) -> io::Result<()> {
        let running = Arc::clone(&self.running);
        let run = move || {
            // A client that has gone is no news.
            let _ = job.run();
            drop(running);
        };
        thread::Builder::new().name("full-scrape".into()).spawn(run).map(drop)
    }
}

impl Job {
    fn run(self) -> io::Result<()> {
        let Self { mut stream, head, body, mut scrape, status } = self;
        let deadline = Instant::now() + TIME_MAX;
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(STALL_MAX))?;
        let mut send = |bytes: &[u8]| {
            if deadline < Instant::now() {
                return Err(io::Error::from(ErrorKind::TimedOut));
            }
            stream.write_all(bytes)?;
            status.full_scrape_bytes_out.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(())
        };
        send(&head)?;
        let mut coder = Coder::new(body.encoding);
        let (mut plain, mut framed) = (Vec::new(), Vec::new());
        loop {
            plain.clear();
            framed.clear();
            let progress = scrape.write_next(&mut plain);
            let coded = coder.code(&mut plain, progress)?;
            match body.framing {
                Framing::UntilClose => framed.append(coded),
                Framing::Chunked => write_chunk(&mut framed, coded),
            }
            coded.clear();
            if progress == Progress::Done && body.framing == Framing::Chunked {
                framed.extend_from_slice(LAST_CHUNK);
            }
            send(&framed)?;
            if progress == Progress::Done {
                break;
            }
        }
        close(stream)
    }
}

/// Lets the client read to the end before the connection is gone: see `Phase::Linger`.
fn close(mut stream: TcpStream) -> io::Result<()> {
    const READS_MAX: u32 = 16;
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut ignored = [0; 4096];
    for _ in 0..READS_MAX {
        if stream.read(&mut ignored)? == 0 {
            break;
        }
    }
    Ok(())
}

enum Coder {
    Identity,
    /// `None` once it has ended; what it had left is beside it.
    Gzip(Option<GzEncoder<Vec<u8>>>, Vec<u8>),
}

impl Coder {
    fn new(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Identity => Self::Identity,
            // The fastest: the counts shrink to a third, the hashes do not shrink at all.
            Encoding::Gzip => {
                Self::Gzip(Some(GzEncoder::new(Vec::new(), Compression::fast())), Vec::new())
            }
        }
    }

    /// What `plain` is when coded, for the caller to take and clear.
    fn code<'a>(
        &'a mut self,
        plain: &'a mut Vec<u8>,
        progress: Progress,
    ) -> io::Result<&'a mut Vec<u8>> {
        let (encoder, rest) = match self {
            Self::Identity => return Ok(plain),
            Self::Gzip(encoder, rest) => (encoder, rest),
        };
        if let Some(encoder) = encoder {
            encoder.write_all(plain)?;
        }
        if progress == Progress::Done
            && let Some(encoder) = encoder.take()
        {
            *rest = encoder.finish()?;
        }
        Ok(encoder.as_mut().map_or(rest, GzEncoder::get_mut))
    }
}
