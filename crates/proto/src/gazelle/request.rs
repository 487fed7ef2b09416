//! The shape of a request: who speaks, and what for.

use super::reply::Failure;
use super::update::decoded;
use crate::InfoHash;
use crate::scan::find_byte;

/// Most bytes of a request, its empty line included: 2,000 passkeys in one `remove_users`. Ocelot
/// takes 4096 and tells a site that sent more `GET string too long` with a status that the site
/// reads as success, so that members it has put out stay in.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Fewest bytes of a request. One with fewer holds no query.
const REQUEST_BYTES_MIN: usize = 60;

/// `GET /`, before the secret.
const START: &[u8] = b"GET /";
/// Where the secret ends and a slash stands.
const SECRET_END: usize = START.len() + 32;
/// Where the word begins.
const WORD_START: usize = SECRET_END + 1;
/// Bytes of `update` and of `report`.
const WORD_BYTES: usize = 6;

/// A request of the site's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What stands where a member has its passkey. To be compared before anything else is done.
    pub secret: &'a [u8; 32],
    /// What is asked for.
    pub word: Word,
    /// What stands between `?` and the next blank, as sent.
    pub query: &'a [u8],
}

/// What is asked for, by the first letter of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A change, see [`Update`](super::Update).
    Update,
    /// Figures, see [`Report`].
    Report,
}

/// What figures are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report<'a> {
    /// Those of the tracker.
    Stats,
    /// Those of the tracker, for Prometheus.
    PromStats,
    /// Those of Ocelot's allocator, which we do not have.
    Jemalloc,
    /// Those of the member with this passkey; `None` where none is named.
    User(Option<&'a [u8]>),
    /// Those of a torrent; `None` where its info_hash is missing or wrong.
    Torrent(Option<InfoHash>),
    /// Whether site and tracker agree. Ocelot has no such thing.
    Check,
    /// Something else, or nothing.
    Unknown,
}

/// Whether what has come of a request so far is one of a site's, whatever it asks for: a segment
/// of 32 bytes, and after it neither `announce` nor `scrape`.
///
/// False where too little has come to tell.
#[inline]
pub fn is_request(bytes: &[u8]) -> bool {
    bytes.get(SECRET_END) == Some(&b'/')
        && bytes.starts_with(START)
        && bytes.get(WORD_START..).is_some_and(|rest| !rest.is_empty() && !may_be_members(rest))
        && secret(bytes).is_some_and(|secret| secret.iter().all(|b| !b"/? \r\n".contains(b)))
}

/// Whether what follows a passkey is a word of members, or the start of one.
fn may_be_members(rest: &[u8]) -> bool {
    let words: [&[u8]; 2] = [b"announce", b"scrape"];
    words.into_iter().any(|word| {
        let length = rest.len().min(word.len());
        rest[..length] == word[..length]
    })
}

/// The length of the request at the start of `bytes`, its empty line included; `None` until all of
/// it is there.
pub fn request_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn secret(bytes: &[u8]) -> Option<&[u8; 32]> {
    bytes.get(START.len()..SECRET_END)?.try_into().ok()
}

impl<'a> Request<'a> {
    /// Reads a whole request, in the order in which Ocelot finds fault.
    ///
    /// Errors: the failure to answer with, [`Failure::StatusPage`] among them.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Failure> {
        if bytes.len() < REQUEST_BYTES_MIN {
            return Err(Failure::TooShort);
        }
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(Failure::TooLong);
        }
        let secret = secret(bytes).expect("it is long enough");
        if bytes[SECRET_END] != b'/' {
            return Err(Failure::MalformedAnnounce);
        }
        let (word, word_bytes) = match bytes[WORD_START] {
            b'u' => (Some(Word::Update), WORD_BYTES),
            b'r' => (Some(Word::Report), WORD_BYTES),
            b'a' => (None, b"announce".len()),
            b's' => (None, WORD_BYTES),
            _ => (None, 0),
        };
        if bytes[WORD_START + word_bytes] != b'?' {
            return Err(Failure::StatusPage);
        }
        let rest = &bytes[WORD_START + word_bytes + 1..];
        let query_bytes = find_byte(rest, b' ').ok_or(Failure::MalformedHttp)?;
        let (query, rest) = rest.split_at(query_bytes);
        if !rest.starts_with(b" HTTP/") {
            return Err(Failure::MalformedHttp);
        }
        let word = word.ok_or(Failure::InvalidAction)?;
        Ok(Self { secret, word, query })
    }

    /// What figures a query asks for.
    pub fn report(&self) -> Report<'a> {
        let value = |key| value(self.query, key);
        match value(b"get").unwrap_or_default() {
            b"stats" => Report::Stats,
            b"prom_stats" => Report::PromStats,
            b"jemalloc" => Report::Jemalloc,
            b"user" => Report::User(value(b"key").filter(|key| !key.is_empty())),
            b"torrent" => {
                let mut hashes = value(b"info_hash").and_then(decoded).unwrap_or_default();
                Report::Torrent(hashes.pop().filter(|_| hashes.is_empty()))
            }
            b"check" => Report::Check,
            _ => Report::Unknown,
        }
    }
}

/// The value of `key` in a query, as sent. The last one counts.
///
/// It begins after the first `=`. Ocelot leaves out every further one, by which no value that a
/// site sends is any different.
pub(super) fn value<'a>(query: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let values = query.split(|&byte| byte == b'&').rev();
    values.into_iter().find_map(|pair| pair.strip_prefix(key)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    const SECRET: &str = "0123456789abcdefghijklmnopqrstuv";

    fn request(path: &str) -> String {
        format!("GET /{SECRET}{path} HTTP/1.1\r\nHost: tracker\r\nConnection: Close\r\n\r\n")
    }

    #[test]
    fn both_generations_of_the_site_are_understood() {
        let new = request("/update?action=add_user&passkey=x&id=1");
        let old = format!("GET /{SECRET}/update?action=add_user&passkey=x&id=1 HTTP/1.1\r\n\r\n");
        for text in [new, old] {
            let parsed = Request::parse(text.as_bytes()).unwrap();
            assert_eq!(parsed.secret, SECRET.as_bytes());
            assert_eq!(parsed.word, Word::Update);
            assert_eq!(parsed.query, b"action=add_user&passkey=x&id=1");
        }
    }

    #[test]
    fn faults_are_found_in_the_order_of_ocelot() {
        let long = "x".repeat(REQUEST_BYTES_MAX);
        let cases = [
            (request("/update?action=x"), None),
            (request("/report?get=stats"), None),
            (request("/unknown"), Some(Failure::StatusPage)),
            (request("/x?y=z"), Some(Failure::StatusPage)),
            (request("/upd?action=x"), Some(Failure::StatusPage)),
            (request("/reports?get=stats"), Some(Failure::StatusPage)),
            (request("/"), Some(Failure::StatusPage)),
            (request("/?x=y"), Some(Failure::InvalidAction)),
            (request("/scrape?x=y"), Some(Failure::InvalidAction)),
            (request(&format!("/update?{long}")), Some(Failure::TooLong)),
            (format!("GET /{SECRET}/update? HTTP/1.1\r\n\r\n"), Some(Failure::TooShort)),
            (request("x/update?action=x"), Some(Failure::MalformedAnnounce)),
            (
                format!("HEAD /{SECRET}/update?action=x HTTP/1.1\r\n\r\n"),
                Some(Failure::MalformedAnnounce),
            ),
            (
                format!("GET /{SECRET}/update?action=add_user GTTP/1.1\r\n\r\n"),
                Some(Failure::MalformedHttp),
            ),
            (
                format!("GET /{SECRET}/update?action=add_user_and_more\r\n\r\n"),
                Some(Failure::MalformedHttp),
            ),
        ];
        for (text, failure) in cases {
            let parsed = Request::parse(text.as_bytes());
            assert_eq!(parsed.err(), failure, "{}", &text[..text.len().min(100)]);
        }
    }

    #[test]
    fn request_of_a_site_is_known_by_its_first_bytes_and_not_before() {
        let text = request("/update?action=x");
        for length in 0..text.len() {
            let known = is_request(&text.as_bytes()[..length]);
            assert_eq!(known, length > WORD_START, "{length}");
            assert_eq!(request_end(&text.as_bytes()[..length]), None);
        }
        assert_eq!(request_end(text.as_bytes()), Some(text.len()));
        for other in [
            request("/announce?info_hash=x"),
            request("/scrape?info_hash=x"),
            "GET /announce?info_hash=01234567890123456789012345 HTTP/1.1\r\n\r\n".into(),
            "GET /api/v1/settings/that/are/so/longx/update HTTP/1.1\r\n\r\n".into(),
            format!("POST /{SECRET}/update?action=x HTTP/1.1\r\n\r\n"),
        ] {
            assert!(!is_request(other.as_bytes()), "{other}");
        }
        assert!(is_request(request("/report?get=stats").as_bytes()));
        assert!(is_request(request("/").as_bytes()));
        assert!(is_request(request("/status").as_bytes()));
        let announce = request("/announce?info_hash=x");
        assert!((0..announce.len()).all(|length| !is_request(&announce.as_bytes()[..length])));
    }

    #[test]
    fn no_prefix_of_a_request_panics() {
        let text = request("/report?get=torrent&info_hash=%00%01");
        for length in 0..text.len() {
            // What comes of it does not matter: it is not a whole request.
            let _ = Request::parse(&text.as_bytes()[..length]).map(|request| request.report());
        }
    }

    #[test]
    fn reports_are_told_apart() {
        let report = |query: &'static str| {
            let query = query.as_bytes();
            Request { secret: &[b'x'; 32], word: Word::Report, query }.report()
        };
        assert_eq!(report("get=stats"), Report::Stats);
        assert_eq!(report("get=x&get=prom_stats"), Report::PromStats);
        assert_eq!(report("get=jemalloc"), Report::Jemalloc);
        assert_eq!(report("get=user&key=abc"), Report::User(Some(b"abc")));
        assert_eq!(report("get=user&key="), Report::User(None));
        assert_eq!(report("get=user"), Report::User(None));
        let hash = InfoHash(*b"abcdefghijklmnopqrs\0");
        let query = "get=torrent&info_hash=abcdefghijklmnopqrs%00";
        assert_eq!(report(query), Report::Torrent(Some(hash)));
        assert_eq!(report("get=torrent&info_hash=abc"), Report::Torrent(None));
        assert_eq!(report("get=torrent"), Report::Torrent(None));
        assert_eq!(report("get=check"), Report::Check);
        assert_eq!(report("get=everything"), Report::Unknown);
        assert_eq!(report(""), Report::Unknown);
    }

    #[test]
    fn last_value_counts_and_keeps_its_equals_signs() {
        assert_eq!(value(b"a=1&b=2&a=3", b"a"), Some(&b"3"[..]));
        assert_eq!(value(b"a=b=c", b"a"), Some(&b"b=c"[..]));
        assert_eq!(value(b"ab=1", b"a"), None);
        assert_eq!(value(b"a", b"a"), None);
        assert_eq!(value(b"a=", b"a"), Some(&b""[..]));
    }
}
