//! The site's connections: its requests read to their end, its secrets checked, replies sent, and
//! the connection closed, for which the site waits.
//!
//! They come from the HTTP workers, which know them by their first bytes, and have a thread of
//! their own: neither announces nor pages can keep the site from putting a member out.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use peerage_proto::gazelle::{
    Failure, REQUEST_BYTES_MAX, Request, Word, request_end, write_failure, write_reply,
};
use subtle::ConstantTimeEq as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use crate::http::Handover;

/// Connections that wait to be taken over. One more is told 503 by its worker.
pub(crate) const HANDOVERS_MAX: usize = 64;

/// Most connections at once. One more is told 503, upon which the site asks again.
const CONNECTIONS_MAX: usize = 256;

/// How long a request may take to come, and a reply to be taken in.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Most bytes of a request that begins with neither password.
const STRANGER_BYTES_MAX: usize = 8192;

/// How long a connection that was answered may take to close, and how much it may send meanwhile.
/// To close with something unread would take the reply back.
const DRAIN_TIME: Duration = Duration::from_secs(2);
const DRAIN_BYTES_MAX: usize = 256 << 10;

/// How often wrong passwords are logged at most, of each kind.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What a connection too many is told.
const TURNED_AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\
    Connection: Close\r\n\r\n";

/// The secrets by which the site is known. Never logged.
#[derive(Clone, Copy)]
pub(crate) struct Passwords {
    /// For updates; `None` for no updates.
    pub(crate) site: Option<[u8; 32]>,
    /// For reports; `None` for no reports.
    pub(crate) report: Option<[u8; 32]>,
}

/// Who answers the requests whose password is right: the body of the reply.
pub(crate) trait Answer: Send + Sync + 'static {
    /// Follows an update, or reports.
    fn answer(
        &self,
        request: &Request<'_>,
    ) -> impl Future<Output = Result<Vec<u8>, Failure>> + Send;
}

/// What is counted of the site's requests, since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Updates with the right password.
    pub(crate) updates: AtomicU64,
    /// Reports with the right password.
    pub(crate) reports: AtomicU64,
    /// Updates with a wrong one.
    pub(crate) wrong_site_passwords: AtomicU64,
    /// Reports with a wrong one.
    pub(crate) wrong_report_passwords: AtomicU64,
    /// Requests that were none.
    pub(crate) malformed: AtomicU64,
    /// Bytes of the longest request.
    pub(crate) request_bytes_max: AtomicU64,
    /// When the last update with the right password came, seconds since 1970; 0 for never.
    pub(crate) updated_at_secs: AtomicU64,
}

/// The site's side of the tracker.
pub(crate) struct Site<A> {
    passwords: Passwords,
    answers: A,
    counts: Arc<Counts>,
    complaints: [Mutex<Complaints>; 2],
}

/// When it was last complained of, and how often there was reason to since.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    unsaid: u64,
}

impl<A: Answer> Site<A> {
    /// A site that is known by `passwords`.
    pub(crate) fn new(passwords: Passwords, answers: A, counts: Arc<Counts>) -> Self {
        Self { passwords, answers, counts, complaints: Default::default() }
    }

    /// Answers what is handed over until every sender is gone, and then what is still open, for a
    /// bounded time. Errors: the system has no means left for a runtime.
    pub(crate) fn run(self, handovers: Receiver<Handover>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(Arc::new(self).serve(handovers));
        Ok(())
    }

    async fn serve(self: Arc<Self>, mut handovers: Receiver<Handover>) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        while let Some(handover) = handovers.recv().await {
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                let _ = io::Write::write(&mut &handover.stream, TURNED_AWAY);
                continue;
            };
            let site = Arc::clone(&self);
            tokio::spawn(async move {
                // How a connection ends is its client's business.
                let _ = site.connection(handover).await;
                drop(permit);
            });
        }
        let all = u32::try_from(CONNECTIONS_MAX).expect("it is small");
        let _ = timeout(DRAIN_TIME, permits.acquire_many(all)).await;
    }

    async fn connection(&self, handover: Handover) -> io::Result<()> {
        let Handover { stream, mut read, source } = handover;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream)?;
        let whole = timeout(TIME_MAX, self.read_request(&mut stream, &mut read)).await;
        let Ok(whole) = whole else {
            // Ocelot says nothing either to who does not finish.
            return Ok(());
        };
        whole?;
        self.counts.request_bytes_max.fetch_max(read.len() as u64, Ordering::Relaxed);
        let reply = self.reply(&read, source).await;
        timeout(TIME_MAX, stream.write_all(&reply)).await??;
        stream.shutdown().await?;
        let drained = timeout(DRAIN_TIME, drain(&mut stream)).await;
        drained.unwrap_or(Ok(()))
    }

    /// Reads until the request is whole, or too long, or until no more comes.
    async fn read_request(&self, stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<()> {
        let bytes_max = match self.is_known(read) {
            true => REQUEST_BYTES_MAX,
            false => STRANGER_BYTES_MAX,
        };
        while read.len() <= bytes_max && request_end(read).is_none() {
            if stream.read_buf(read).await? == 0 {
                break;
            }
        }
        if let Some(end) = request_end(read) {
            read.truncate(end);
        }
        Ok(())
    }

    /// Whether a request begins with one of the passwords.
    fn is_known(&self, read: &[u8]) -> bool {
        let secret = read.get(5..37).unwrap_or_default();
        [self.passwords.site, self.passwords.report]
            .iter()
            .any(|password| is_equal(password.as_ref(), secret))
    }

    async fn reply(&self, bytes: &[u8], source: SocketAddr) -> Vec<u8> {
        let mut reply = Vec::new();
        match self.answer(bytes, source).await {
            Ok(body) => write_reply(&mut reply, &body),
            Err(failure) => write_failure(&mut reply, failure),
        }
        reply
    }

    async fn answer(&self, bytes: &[u8], source: SocketAddr) -> Result<Vec<u8>, Failure> {
        let too_long = bytes.len() > STRANGER_BYTES_MAX && !self.is_known(bytes);
        let request = match too_long {
            true => Err(Failure::TooLong),
            false => Request::parse(bytes),
        };
        let request = request.inspect_err(|failure| {
            if *failure != Failure::StatusPage {
                self.counts.malformed.fetch_add(1, Ordering::Relaxed);
            }
        })?;
        let (password, right, wrong) = match request.word {
            Word::Update => {
                (&self.passwords.site, &self.counts.updates, &self.counts.wrong_site_passwords)
            }
            Word::Report => {
                let counts = &self.counts;
                (&self.passwords.report, &counts.reports, &counts.wrong_report_passwords)
            }
        };
        if !is_equal(password.as_ref(), request.secret) {
            wrong.fetch_add(1, Ordering::Relaxed);
            self.complain(request.word, source);
            return Err(Failure::Authentication);
        }
        right.fetch_add(1, Ordering::Relaxed);
        if request.word == Word::Update {
            self.counts.updated_at_secs.store(now_secs(), Ordering::Relaxed);
        }
        self.answers.answer(&request).await
    }

    /// Logs that a password is wrong, now and then, without the password.
    fn complain(&self, word: Word, source: SocketAddr) {
        let mut complaints =
            self.complaints[word as usize].lock().unwrap_or_else(PoisonError::into_inner);
        if complaints.last.is_some_and(|last| last.elapsed() < COMPLAIN_EVERY) {
            complaints.unsaid += 1;
            return;
        }
        let unsaid = std::mem::take(&mut complaints.unsaid);
        complaints.last = Some(Instant::now());
        let from = source.ip();
        let more = match unsaid {
            0 => String::new(),
            unsaid => format!("; {unsaid} more since the last such line"),
        };
        match (word, self.passwords.site, self.passwords.report) {
            (Word::Update, Some(_), _) => tracing::error!(
                "the site's updates are refused: site_password differs. {from} has sent another; \
                 gazelle.site_password must be what the site has as TRACKER_SECRET. Until it is, \
                 new members are told \"Passkey not found\", new torrents \"Unregistered \
                 torrent\", and who was put out stays in{more}"
            ),
            (Word::Report, _, Some(_)) => tracing::warn!(
                "the site's reports are refused: report_password differs. {from} has sent another; \
                 gazelle.report_password must be what the site has as TRACKER_REPORTKEY{more}"
            ),
            (Word::Update, None, _) => tracing::error!(
                "the site's updates are refused: gazelle.site_password is not set. {from} has \
                 sent one{more}"
            ),
            (Word::Report, _, None) => tracing::warn!(
                "the site's reports are refused: gazelle.report_password is not set. {from} has \
                 asked for one{more}"
            ),
        }
    }
}

/// Whether `secret` is the password, in a time that does not tell how much of it is. Nothing is the
/// password where there is none.
fn is_equal(password: Option<&[u8; 32]>, secret: &[u8]) -> bool {
    password.is_some_and(|password| bool::from(password.as_slice().ct_eq(secret)))
}

/// Seconds since 1970.
pub(super) fn now_secs() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Reads and drops what still comes, up to the end of the connection or to a bound.
async fn drain(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut bytes_left = DRAIN_BYTES_MAX;
    while bytes_left > 0 {
        match stream.read(&mut buffer).await? {
            0 => break,
            read => bytes_left = bytes_left.saturating_sub(read),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener};
    use std::thread;

    use tokio::sync::mpsc;

    use super::*;

    const SITE: &str = "0123456789abcdefghijklmnopqrstuv";
    const REPORT: &str = "report89abcdefghijklmnopqrstuvwx";

    struct Echo;

    impl Answer for Echo {
        async fn answer(&self, request: &Request<'_>) -> Result<Vec<u8>, Failure> {
            match request.query {
                b"unknown" => Err(Failure::UnknownReport),
                query => Ok(query.to_vec()),
            }
        }
    }

    fn passwords() -> Passwords {
        let bytes = |text: &str| text.as_bytes().try_into().unwrap();
        Passwords { site: Some(bytes(SITE)), report: Some(bytes(REPORT)) }
    }

    /// What comes back of `request`, of which `first` bytes are read before it is handed over.
    fn exchange(request: &str, first: usize) -> (String, Arc<Counts>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, source) = listener.accept().unwrap();
        let (sender, receiver) = mpsc::channel(1);
        let read = request.as_bytes()[..first].to_vec();
        assert!(sender.try_send(Handover { stream, read, source }).is_ok());
        drop(sender);
        let counts = Arc::new(Counts::default());
        let site = Site::new(passwords(), Echo, Arc::clone(&counts));
        let serving = thread::spawn(move || site.run(receiver));
        client.write_all(&request.as_bytes()[first..]).unwrap();
        let mut reply = String::new();
        client.read_to_string(&mut reply).unwrap();
        client.shutdown(Shutdown::Both).ok();
        serving.join().unwrap().unwrap();
        (reply, counts)
    }

    fn request(secret: &str, rest: &str) -> String {
        format!("GET /{secret}/{rest} HTTP/1.1\r\nHost: t\r\nConnection: Close\r\n\r\n")
    }

    #[test]
    fn request_is_answered_and_the_connection_closed_however_it_comes() {
        let text = request(SITE, "update?action=x");
        for first in [39, 60, text.len()] {
            let (reply, counts) = exchange(&text, first);
            assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
            assert!(reply.ends_with("\r\n\r\naction=x"), "{reply}");
            assert_eq!(counts.updates.load(Ordering::Relaxed), 1);
            assert!(counts.updated_at_secs.load(Ordering::Relaxed) > 1_700_000_000);
        }
    }

    #[test]
    fn each_word_has_its_password() {
        for (secret, rest, right) in [
            (SITE, "update?action=x", true),
            (REPORT, "report?get=stats", true),
            (REPORT, "update?action=x", false),
            (SITE, "report?get=stats", false),
            ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "update?action=x", false),
        ] {
            let (reply, counts) = exchange(&request(secret, rest), 39);
            assert_eq!(!reply.contains("22:Authentication failure"), right, "{rest}: {reply}");
            let wrong = counts.wrong_site_passwords.load(Ordering::Relaxed)
                + counts.wrong_report_passwords.load(Ordering::Relaxed);
            assert_eq!(wrong == 0, right);
        }
    }

    #[test]
    fn password_that_is_not_set_is_no_password() {
        assert!(!is_equal(None, b""));
        assert!(!is_equal(None, &[0; 32]));
        assert!(!is_equal(Some(&[0; 32]), &[0; 31]));
        assert!(is_equal(Some(&[0; 32]), &[0; 32]));
    }

    #[test]
    fn site_may_send_long_requests_and_a_stranger_may_not() {
        let query = "x".repeat(60_000);
        let (reply, counts) = exchange(&request(SITE, &format!("update?{query}")), 39);
        assert!(reply.ends_with(&query), "{}", &reply[..reply.len().min(200)]);
        assert!(counts.request_bytes_max.load(Ordering::Relaxed) > 60_000);
        let stranger = request(&"x".repeat(32), &format!("update?{query}"));
        let (reply, _) = exchange(&stranger, 39);
        assert!(reply.contains("19:GET string too long"), "{reply}");
        let query = "x".repeat(REQUEST_BYTES_MAX);
        let (reply, _) = exchange(&request(SITE, &format!("update?{query}")), 39);
        assert!(reply.contains("19:GET string too long"), "{reply}");
    }

    #[test]
    fn what_asks_for_nothing_gets_the_page_and_failures_their_text() {
        let (reply, _) = exchange(&request(SITE, "anything"), 39);
        assert!(reply.ends_with("Nothing to see here</body></html>"), "{reply}");
        let (reply, _) = exchange(&request(SITE, "?x=y"), 39);
        assert!(reply.contains("14:Invalid action"), "{reply}");
        let (reply, _) = exchange(&request(REPORT, "report?unknown"), 39);
        assert!(reply.contains("25:unrecognized report query"), "{reply}");
    }
}
