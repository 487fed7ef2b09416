//! The site's PHP: the bytes that both generations of Gazelle send to their tracker, and what they
//! make of the reply.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a reply may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Whose PHP it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// WhatCD's Gazelle 1.x, written for Ocelot 1.0.
    WhatCd,
    /// Orpheus', written for Ocelot 2.
    Ops,
}

/// A site.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Php {
    /// Whose.
    pub(crate) generation: Generation,
    /// Where its tracker is.
    pub(crate) tracker: SocketAddr,
}

/// What the site has as TRACKER_SECRET.
pub(crate) const SITE_PASSWORD: &str = "0123456789abcdefghijklmnopqrstuv";
/// What the site has as TRACKER_REPORTKEY.
pub(crate) const REPORT_PASSWORD: &str = "report0123456789abcdefghijklmnop";

impl Php {
    /// Tells of a change, values as they are. Whether the site takes it for done.
    pub(crate) fn update(&self, action: &str, parameters: &[(&str, &str)]) -> bool {
        self.is_success(&self.ask(SITE_PASSWORD, &query(action, parameters)))
    }

    /// As [`Php::update`], where anything but success is the test's failure.
    #[track_caller]
    pub(crate) fn tell(&self, action: &str, parameters: &[(&str, &str)]) {
        let reply = self.ask(SITE_PASSWORD, &query(action, parameters));
        assert!(self.is_success(&reply), "{action}: {reply}");
        assert_eq!(body(&reply), "success", "{action}");
    }

    /// Asks for figures: what the site takes for the data.
    pub(crate) fn report(&self, what: &str) -> String {
        let reply = self.ask(REPORT_PASSWORD, &format!("/report?get={what}"));
        let from = reply.find("\r\n\r\n").map_or(0, |at| at + 4);
        let to = reply.rfind('\n').unwrap_or(from).max(from);
        reply[from..to].to_owned()
    }

    /// All that comes back for `/{secret}{path}`, up to the end of the connection.
    pub(crate) fn ask(&self, secret: &str, path: &str) -> String {
        let request = match self.generation {
            Generation::WhatCd => {
                format!("GET /{secret}{path} HTTP/1.1\r\nConnection: Close\r\n\r\n")
            }
            Generation::Ops => format!(
                "GET /{secret}{path} HTTP/1.1\r\nHost: tracker.site.example\r\n\
                 Connection: Close\r\n\r\n"
            ),
        };
        self.send(&request)
    }

    /// All that comes back for a request, up to the end of the connection.
    pub(crate) fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect_timeout(&self.tracker, LIMIT).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("it is a time");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).expect("it closes the connection in good order");
        String::from_utf8(reply).expect("replies are text")
    }

    /// Whether the site takes `reply` for success.
    pub(crate) fn is_success(&self, reply: &str) -> bool {
        let last = reply.rsplit('\n').next() == Some("success");
        match self.generation {
            Generation::WhatCd => last,
            Generation::Ops => reply.starts_with("HTTP/1.1 200") || last,
        }
    }
}

/// The path of an update.
pub(crate) fn query(action: &str, parameters: &[(&str, &str)]) -> String {
    let mut path = format!("/update?action={action}");
    for (key, value) in parameters {
        path += &format!("&{key}={value}");
    }
    path
}

/// The body of a reply.
pub(crate) fn body(reply: &str) -> &str {
    reply.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// As PHP's rawurlencode.
pub(crate) fn rawurlencode(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|&byte| match byte {
            b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
