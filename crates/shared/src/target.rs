//! Where Redis is: `redis://[user:password@]host[:port][,host[:port]…][/database]`.
//!
//! - `redis://`, `rediss://` (TLS): a server, or any nodes of a Cluster: which of both it is, it
//!   says itself.
//! - `redis+sentinel://…/name[/database]`, `rediss+sentinel://`: Sentinels, and the name of the
//!   master they watch. User and password are the master's.

use std::fmt;

/// Where Redis is.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// At least one, each with its port.
    pub(crate) hosts: Vec<(String, u16)>,
    pub(crate) tls: bool,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: i64,
    /// The master's name, where the hosts are Sentinels.
    pub(crate) master: Option<String>,
}

/// Why a URL names no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// None of the schemes.
    Scheme,
    /// No host, or one without a name or with a wrong port.
    Host,
    /// A percent sign that two hex digits do not follow.
    Escape,
    /// What follows the hosts is no database, or there is no name of a master.
    Path,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "it starts with none of redis://, rediss://, redis+sentinel://",
            Self::Host => "a host or its port is wrong",
            Self::Escape => "a % is not followed by two hex digits",
            Self::Path => "a database is a number; a set of Sentinels needs a master's name",
        })
    }
}

/// Without the password.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// Its hosts: what may stand in a log.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (host, port)) in self.hosts.iter().enumerate() {
            write!(f, "{}{host}:{port}", if index == 0 { "" } else { "," })?;
        }
        match &self.master {
            Some(name) => write!(f, " (Sentinels of {name})"),
            None => Ok(()),
        }
    }
}

impl Target {
    /// Reads a URL.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let (scheme, rest) = url.split_once("://").ok_or(TargetError::Scheme)?;
        let (tls, sentinel) = match scheme {
            "redis" | "valkey" => (false, false),
            "rediss" | "valkeys" => (true, false),
            "redis+sentinel" | "valkey+sentinel" => (false, true),
            "rediss+sentinel" | "valkeys+sentinel" => (true, true),
            _ => return Err(TargetError::Scheme),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        let default_port = if sentinel { 26379 } else { 6379 };
        let hosts = hosts.split(',').map(|host| read_host(host, default_port));
        let (user, password) = match login.map(|login| login.split_once(':')) {
            Some(Some((user, password))) => (Some(unescape(user)?), Some(unescape(password)?)),
            Some(None) => (login.map(unescape).transpose()?, None),
            None => (None, None),
        };
        let path = path.trim_end_matches('/');
        let (master, database) = match (sentinel, path.split_once('/')) {
            (true, Some((name, database))) => (Some(name), database),
            (true, None) => (Some(path), ""),
            (false, _) => (None, path),
        };
        if master == Some("") {
            return Err(TargetError::Path);
        }
        let database = match database {
            "" => 0,
            number => number.parse::<u16>().map_err(|_| TargetError::Path)?.into(),
        };
        Ok(Self {
            hosts: hosts.collect::<Result<_, _>>()?,
            tls,
            user: user.filter(|user| !user.is_empty()),
            password,
            database,
            master: master.map(unescape).transpose()?,
        })
    }
}

fn read_host(host: &str, default_port: u16) -> Result<(String, u16), TargetError> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']').ok_or(TargetError::Host)?;
            (name, port.strip_prefix(':'))
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let port = port.map_or(Ok(default_port), |port| port.parse().map_err(|_| TargetError::Host))?;
    match name {
        "" => Err(TargetError::Host),
        name => Ok((name.to_owned(), port)),
    }
}

fn unescape(text: &str) -> Result<String, TargetError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(TargetError::Escape) };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| TargetError::Escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, shown: &str, tls: bool, login: (Option<&str>, Option<&str>), number: i64) {
        let target = Target::parse(url).expect(url);
        assert_eq!(target.to_string(), shown);
        assert_eq!(target.tls, tls, "{url}");
        assert_eq!((target.user.as_deref(), target.password.as_deref()), login, "{url}");
        assert_eq!(target.database, number, "{url}");
    }

    #[test]
    fn urls_are_read() {
        check("redis://cache", "cache:6379", false, (None, None), 0);
        check("rediss://u:p%40ss@cache:1/3", "cache:1", true, (Some("u"), Some("p@ss")), 3);
        check(
            "redis://:secret@[::1]:7000,b:7001/",
            "::1:7000,b:7001",
            false,
            (None, Some("secret")),
            0,
        );
        let sentinels = "a:26379,b:5 (Sentinels of main)";
        check("redis+sentinel://a,b:5/main/2", sentinels, false, (None, None), 2);
        check("valkey+sentinel://a,b:5/main", sentinels, false, (None, None), 0);
    }

    #[test]
    fn wrong_urls_say_what_is_wrong() {
        for (url, error) in [
            ("cache:6379", TargetError::Scheme),
            ("http://cache", TargetError::Scheme),
            ("redis://", TargetError::Host),
            ("redis://a,,b", TargetError::Host),
            ("redis://a:70000", TargetError::Host),
            ("redis://u:%4@a", TargetError::Escape),
            ("redis://a/first", TargetError::Path),
            ("redis+sentinel://a", TargetError::Path),
        ] {
            assert_eq!(Target::parse(url), Err(error), "{url}");
        }
    }

    #[test]
    fn password_is_not_shown() {
        let target = Target::parse("redis://user:secret@a").expect("it is right");
        assert!(!format!("{target} {target:?}").contains("secret"));
    }
}
