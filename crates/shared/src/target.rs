//! Where Redis is: `redis://[user:password@]host[:port][,host[:port]…][/database]`.
//!
//! - `redis://`, `rediss://` (TLS): a server, or any nodes of a Cluster: which of both it is, it
//!   says itself.
//! - `redis+sentinel://…/name[/database]`, `rediss+sentinel://`: Sentinels, and the name of the
//!   master they watch. User and password are the master's; those of the Sentinels follow as
//!   `?sentinel_user=…&sentinel_password=…`.

use std::fmt;

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo,
    RedisError, TlsCertificates,
};

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
    /// The login at the Sentinels, who have their own or none.
    sentinel_user: Option<String>,
    sentinel_password: Option<String>,
    certificates: Option<Certificates>,
}

/// By what both sides of a TLS connection are known, in PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Of the authorities that are trusted; the system's where there is none.
    pub authority: Option<Vec<u8>>,
    /// The node's own certificate and key, where Redis asks for one.
    pub own: Option<(Vec<u8>, Vec<u8>)>,
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
    /// What follows the question mark is not known here.
    Option,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "it starts with none of redis://, rediss://, redis+sentinel://",
            Self::Host => "a host or its port is wrong",
            Self::Escape => "a % is not followed by two hex digits",
            Self::Path => "a database is a number; a set of Sentinels needs a master's name",
            Self::Option => {
                "after ? come sentinel_user=… and sentinel_password=…, joined by &, and for \
                 Sentinels only"
            }
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
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
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
        let mut target = Self {
            hosts: hosts.collect::<Result<_, _>>()?,
            tls,
            user: user.filter(|user| !user.is_empty()),
            password,
            database,
            master: master.map(unescape).transpose()?,
            sentinel_user: None,
            sentinel_password: None,
            certificates: None,
        };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let place = match option.split_once('=') {
                Some(("sentinel_user", _)) if sentinel => &mut target.sentinel_user,
                Some(("sentinel_password", _)) if sentinel => &mut target.sentinel_password,
                _ => return Err(TargetError::Option),
            };
            *place = option.split_once('=').map(|(_, value)| unescape(value)).transpose()?;
        }
        Ok(target)
    }

    /// The same place, known by `certificates` instead of the system's. Errors: what is wrong with
    /// them, to be told to the operator.
    pub fn with_certificates(self, certificates: Certificates) -> Result<Self, String> {
        if !self.tls {
            return Err("for rediss:// only".to_owned());
        }
        let mut parts =
            certificates.authority.iter().chain(certificates.own.iter().map(|own| &own.0));
        if !parts.all(|pem| pem.windows(PEM.len()).any(|window| window == PEM)) {
            return Err("a PEM file with a certificate".to_owned());
        }
        let target = Self { certificates: Some(certificates), ..self };
        match target.client("localhost", 1, RedisConnectionInfo::default()) {
            Ok(_) => Ok(target),
            Err(error) => Err(format!("PEM files of certificates and a key ({error})")),
        }
    }

    /// A client of the server at a host, which logs in as `settings` say. Errors: the certificates
    /// are none.
    pub(crate) fn client(
        &self,
        host: &str,
        port: u16,
        settings: RedisConnectionInfo,
    ) -> Result<Client, RedisError> {
        let host = host.to_owned();
        let address = match self.tls {
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        };
        let info = address.into_connection_info()?.set_redis_settings(settings);
        let Some(Certificates { authority, own }) = &self.certificates else {
            return Client::open(info);
        };
        let own = own.as_ref().map(|(certificate, key)| ClientTlsConfig {
            client_cert: certificate.clone(),
            client_key: key.clone(),
        });
        let authority = authority.clone();
        Client::build_with_tls(info, TlsCertificates { client_tls: own, root_cert: authority })
    }

    /// The Sentinels themselves.
    pub(crate) fn sentinels(&self) -> Self {
        Self {
            user: self.sentinel_user.clone(),
            password: self.sentinel_password.clone(),
            database: 0,
            ..self.clone()
        }
    }
}

/// By which a certificate begins.
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";

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
            ("redis://a?sentinel_user=b", TargetError::Option),
            ("redis+sentinel://a/m?user=b", TargetError::Option),
            ("redis+sentinel://a/m?sentinel_user=%", TargetError::Escape),
        ] {
            assert_eq!(Target::parse(url), Err(error), "{url}");
        }
    }

    #[test]
    fn login_at_the_sentinels_is_their_own() {
        let url = "rediss+sentinel://u:p@a/main/3?sentinel_user=s&sentinel_password=%71";
        let sentinels = Target::parse(url).expect("it is right").sentinels();
        assert_eq!(sentinels.user.as_deref(), Some("s"));
        assert_eq!(sentinels.password.as_deref(), Some("q"));
        assert_eq!((sentinels.database, sentinels.tls), (0, true));
        let sentinels = Target::parse("redis+sentinel://u:p@a/main").expect("it is right");
        assert_eq!(sentinels.sentinels().password, None);
    }

    #[test]
    fn password_is_not_shown() {
        let url = "redis+sentinel://user:secret@a/main?sentinel_password=secret";
        let target = Target::parse(url).expect("it is right");
        assert!(!format!("{target} {target:?}").contains("secret"));
    }

    #[test]
    fn certificates_that_are_none_are_refused() {
        let with = |url, authority: &str| {
            let authority = Some(authority.as_bytes().to_vec());
            let target = Target::parse(url).expect("it is right");
            target.with_certificates(Certificates { authority, own: None })
        };
        assert!(with("redis://a", "").is_err_and(|error| error.contains("rediss://")));
        assert!(with("rediss://a", "no PEM").is_err_and(|error| error.contains("PEM")));
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(with("rediss://a", cut).is_err_and(|error| error.contains("PEM")));
    }
}
