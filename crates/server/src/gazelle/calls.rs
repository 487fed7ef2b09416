//! Calls to the site: tokens that were used up are told to its `tools.php`, which ends them.
//!
//! A token that nobody tells of stays in the site's tables, and is in force again after a restart.
//! So none is forgotten: what is not told is tried again, and what is left at a stop is kept in a
//! file, or named in the log where there is no folder for one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::Uri;
use peerage_tracker::private::{MemberId, Token, TorrentId};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Most tokens in one call: 50 of at most 21 bytes each and a comma are 1100 bytes, which any
/// server takes in a URL.
const TOKENS_PER_CALL: usize = 50;

/// Most tokens that wait. One more is named in the log and not told: 100,000 are some hours of the
/// busiest site, and 2 MB.
const TOKENS_MAX: usize = 100_000;

/// How long one call may take, from the connection to the reply.
const CALL_TIME_MAX: Duration = Duration::from_secs(10);

/// How long it is waited after a call that failed: twice as long after each, up to the latter.
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Most bytes read of a reply: its status line is all that counts.
const REPLY_BYTES_MAX: usize = 4096;

/// The file of tokens that wait, in the data folder: `member:torrent`, one a line.
const FILE: &str = "tokens.pending";

/// Where the site is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SiteUrl {
    is_https: bool,
    host: String,
    port: u16,
    /// Begins with a slash where it is not empty; does not end with one.
    path: String,
}

impl SiteUrl {
    /// Reads `http://host:port/path`; `None` for what is no such URL.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let is_https = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        let plain = uri.query().is_none() && !authority.as_str().contains('@');
        let port = authority.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let (host, path) = (uri.host()?.to_owned(), uri.path().trim_end_matches('/').to_owned());
        plain.then_some(Self { is_https, host, port, path })
    }

    /// The request that tells of `tokens`. HTTP/1.0, as Ocelot's: the reply ends with the
    /// connection.
    fn request(&self, password: &[u8; 32], tokens: &[Token]) -> String {
        let Self { host, path, .. } = self;
        let password = String::from_utf8_lossy(password);
        let mut request =
            format!("GET {path}/tools.php?key={password}&type=expiretoken&action=ocelot&tokens=");
        for (index, Token { member, torrent }) in tokens.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(request, "{comma}{}:{}", member.0, torrent.0).expect("a String takes any text");
        }
        request +=
            &format!(" HTTP/1.0\r\nHost: {host}\r\nAccept: */*\r\nConnection: close\r\n\r\n");
        request
    }
}

/// The tokens that are to be told to the site.
pub(crate) struct Calls {
    url: SiteUrl,
    password: [u8; 32],
    /// At most [`TOKENS_MAX`].
    waiting: Mutex<BTreeSet<Token>>,
    /// Told when there is something to tell.
    more: Notify,
    /// Where they are kept over a restart.
    file: Option<PathBuf>,
    tls: TlsConnector,
}

impl Calls {
    /// Calls to the site at `url`, which knows us by `password`; with what an earlier process has
    /// left in `data_dir`. Errors: that file cannot be read.
    pub(crate) fn new(
        url: SiteUrl,
        password: [u8; 32],
        data_dir: Option<&Path>,
    ) -> io::Result<Self> {
        let file = data_dir.map(|folder| folder.join(FILE));
        let kept = file.as_deref().map_or(Ok(BTreeSet::new()), read_file)?;
        if !kept.is_empty() {
            tracing::info!("{} tokens are still to be told to the site", kept.len());
        }
        let roots = RootCertStore::from_iter(roots(url.is_https));
        Ok(Self {
            url,
            password,
            waiting: Mutex::new(kept),
            more: Notify::new(),
            file,
            tls: connector(roots),
        })
    }

    /// Takes tokens to be told. Never waits.
    pub(crate) fn tell(&self, tokens: impl IntoIterator<Item = Token>) {
        let mut waiting = self.waiting();
        for token in tokens {
            if waiting.len() < TOKENS_MAX {
                waiting.insert(token);
            } else if !waiting.contains(&token) {
                let Token { member, torrent } = token;
                tracing::error!(
                    "token {}:{} is not told to the site: {TOKENS_MAX} wait already",
                    member.0,
                    torrent.0
                );
            }
        }
        drop(waiting);
        self.more.notify_one();
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting().len()
    }

    /// Tells the site as tokens come, for ever. To be dropped at the stop, where [`Calls::finish`]
    /// follows.
    pub(crate) async fn run(&self) {
        let mut pause = PAUSE_MIN;
        loop {
            if self.waiting().is_empty() {
                self.more.notified().await;
            }
            match self.tell_some().await {
                Ok(()) => {
                    if pause != PAUSE_MIN {
                        tracing::info!("the site is told of used tokens again");
                    }
                    pause = PAUSE_MIN;
                }
                Err(error) => {
                    if pause == PAUSE_MIN {
                        tracing::warn!(
                            "the site cannot be told of used tokens: {error}; {} wait, trying on",
                            self.len()
                        );
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Tells what is left, for `time_max` at most and until the first failure, and keeps the rest.
    pub(crate) async fn finish(&self, time_max: Duration) {
        let all = async {
            while !self.waiting().is_empty() {
                self.tell_some().await?;
            }
            Ok::<_, io::Error>(())
        };
        // What was not told is kept either way.
        let _ = timeout(time_max, all).await;
        self.keep();
    }

    /// Writes the file of those that wait, where there is a folder for it, so that they outlive a
    /// process that is killed.
    pub(crate) fn keep_if_possible(&self) {
        if self.file.is_some() {
            self.keep();
        }
    }

    /// Writes the file of those that wait, or names them.
    fn keep(&self) {
        let waiting = self.waiting();
        let lines = |end: &str| -> String {
            waiting.iter().map(|one| format!("{}:{}{end}", one.member.0, one.torrent.0)).collect()
        };
        let written = match &self.file {
            Some(file) if waiting.is_empty() => match fs::remove_file(file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            },
            Some(file) => {
                let new = file.with_extension("new");
                fs::write(&new, lines("\n")).and_then(|()| fs::rename(&new, file))
            }
            None if waiting.is_empty() => Ok(()),
            None => Err(io::Error::other("there is no process.data_dir")),
        };
        if let Err(error) = written {
            tracing::error!(
                "used tokens were not told to the site and cannot be kept: {error}; by member and \
                 torrent they are {}",
                lines(" ")
            );
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeSet<Token>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one call with the first that wait; they wait no more once the site says 200.
    async fn tell_some(&self) -> io::Result<()> {
        let some: Vec<Token> = self.waiting().iter().take(TOKENS_PER_CALL).copied().collect();
        if some.is_empty() {
            return Ok(());
        }
        let request = self.url.request(&self.password, &some);
        let status = timeout(CALL_TIME_MAX, self.call(&request)).await??;
        if status != 200 {
            return Err(io::Error::other(format!("it answers with status {status}")));
        }
        let mut waiting = self.waiting();
        for token in &some {
            waiting.remove(token);
        }
        Ok(())
    }

    /// The status of the reply to `request`.
    async fn call(&self, request: &str) -> io::Result<u16> {
        let SiteUrl { host, port, is_https, .. } = &self.url;
        let address = host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((address, *port)).await?;
        if !is_https {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(address.to_owned()).map_err(io::Error::other)?;
        let stream = self.tls.connect(name, stream).await.map_err(explain)?;
        exchange(stream, request).await
    }
}

/// What to do where it is the site's certificate that is at fault.
fn explain(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(what @ rustls::Error::InvalidCertificate(_)) => io::Error::other(format!(
            "its certificate is not trusted ({what}): put who signed it among the system's \
             authorities, or in the file that the environment names in SSL_CERT_FILE, and have \
             gazelle.site_url name the host as the certificate does"
        )),
        _ => error,
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
) -> io::Result<u16> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut reply = Vec::new();
    // To its end, as far as it goes: the site may not be done before.
    while reply.len() < REPLY_BYTES_MAX {
        match stream.read_buf(&mut reply).await {
            Ok(0) => break,
            Ok(_) => {}
            // Not everyone closes TLS in good order.
            Err(_) if !reply.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    status(&reply).ok_or_else(|| io::Error::other("its reply is not HTTP"))
}

/// The status in `HTTP/1.1 200 OK`.
fn status(reply: &[u8]) -> Option<u16> {
    let rest = reply.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    str::from_utf8(rest).ok()?.parse().ok()
}

/// The system's certificates, where they are wanted. One that cannot be read is passed over: a
/// site that needs it is not believed, and the log says so.
fn roots(wanted: bool) -> Vec<rustls::pki_types::TrustAnchor<'static>> {
    if !wanted {
        return Vec::new();
    }
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    store.roots
}

fn connector(roots: RootCertStore) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("this provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

fn read_file(file: &Path) -> io::Result<BTreeSet<Token>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error),
    };
    let token = |line: &str| {
        let (member, torrent) = line.split_once(':')?;
        let (member, torrent) = (member.parse().ok()?, torrent.parse().ok()?);
        Some(Token { member: MemberId(member), torrent: TorrentId(torrent) })
    };
    let mut tokens = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        match token(line) {
            Some(token) => {
                tokens.insert(token);
            }
            None => {
                tracing::warn!("{}:{}: passed over: no token", file.display(), index + 1);
            }
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use peerage_testkit::Folder;

    use super::*;

    const PASSWORD: [u8; 32] = *b"0123456789abcdefghijklmnopqrstuv";
    const PATIENCE: Duration = Duration::from_secs(20);

    fn token(member: u32, torrent: u32) -> Token {
        Token { member: MemberId(member), torrent: TorrentId(torrent) }
    }

    /// A site that answers each call with the next of `replies`, and returns the request lines.
    fn site(replies: &[&str]) -> (SiteUrl, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/sub/", listener.local_addr().unwrap());
        let replies: Vec<String> = replies.iter().map(|&reply| reply.into()).collect();
        let serving = thread::spawn(move || {
            let answer = |reply: String| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.push(byte[0]);
                }
                stream.write_all(reply.as_bytes()).unwrap();
                String::from_utf8(request).unwrap().lines().next().unwrap().to_owned()
            };
            replies.into_iter().map(answer).collect()
        });
        (SiteUrl::parse(&url).unwrap(), serving)
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn urls_of_a_site_are_read() {
        let url = |is_https, host: &str, port, path: &str| {
            Some(SiteUrl { is_https, host: host.into(), port, path: path.into() })
        };
        assert_eq!(SiteUrl::parse("http://127.0.0.1"), url(false, "127.0.0.1", 80, ""));
        assert_eq!(SiteUrl::parse("https://a.example/x/"), url(true, "a.example", 443, "/x"));
        assert_eq!(SiteUrl::parse("http://[::1]:81/"), url(false, "[::1]", 81, ""));
        for wrong in ["", "a.example", "ftp://a", "http://a?b", "http://u:p@a", "http://"] {
            assert_eq!(SiteUrl::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn used_tokens_are_told_in_one_call_with_the_words_of_ocelot() {
        let (url, serving) = site(&["HTTP/1.1 200 OK\r\n\r\nsuccess"]);
        let calls = Calls::new(url, PASSWORD, None).unwrap();
        calls.tell([token(7, 1), token(3, 22), token(7, 1)]);
        block_on(calls.finish(PATIENCE));
        assert_eq!(calls.len(), 0);
        assert_eq!(
            serving.join().unwrap(),
            ["GET /sub/tools.php?key=0123456789abcdefghijklmnopqrstuv&type=expiretoken\
              &action=ocelot&tokens=3:22,7:1 HTTP/1.0"]
        );
    }

    #[test]
    fn many_tokens_are_told_in_several_calls() {
        let (url, serving) = site(&["HTTP/1.0 200 OK\r\n\r\n"; 3]);
        let calls = Calls::new(url, PASSWORD, None).unwrap();
        calls.tell((1..=101).map(|member| token(member, 5)));
        block_on(calls.finish(PATIENCE));
        let lines = serving.join().unwrap();
        let tokens: Vec<_> = lines.iter().map(|line| line.matches(":5").count()).collect();
        assert_eq!(tokens, [50, 50, 1]);
    }

    #[test]
    fn what_the_site_does_not_take_is_kept_over_a_restart() {
        let folder = Folder::new("calls").unwrap();
        let (url, serving) = site(&["HTTP/1.1 403 Forbidden\r\n\r\n"]);
        let calls = Calls::new(url, PASSWORD, Some(folder.path())).unwrap();
        calls.tell([token(1, 2), token(3, 4)]);
        block_on(calls.finish(PATIENCE));
        serving.join().unwrap();
        assert_eq!(calls.len(), 2);
        let (url, serving) = site(&["HTTP/1.1 200 OK\r\n\r\n"]);
        let again = Calls::new(url, PASSWORD, Some(folder.path())).unwrap();
        assert_eq!(again.len(), 2);
        block_on(again.finish(PATIENCE));
        assert!(serving.join().unwrap()[0].contains("&tokens=1:2,3:4 "));
        assert!(!folder.path().join(FILE).exists());
    }

    #[test]
    fn site_that_does_not_answer_holds_nobody_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Calls::new(SiteUrl::parse(&url).unwrap(), PASSWORD, None).unwrap();
        calls.tell([token(1, 2)]);
        block_on(calls.finish(Duration::from_millis(50)));
        assert_eq!(calls.len(), 1);
    }
}
