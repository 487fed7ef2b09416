//! Why Redis is not reached, in words for the operator: what to change where it can be changed.

use std::fmt;

use redis::{ErrorKind, RedisError};

/// Why there are no masters, or no news.
#[derive(Debug)]
pub(crate) enum Lost {
    /// Redis says so, or the network does.
    Redis(RedisError),
    /// No Sentinel knows the master, or the one it names is none.
    NoMaster,
    /// llmpt's keys are not for a Cluster.
    Cluster,
}

impl From<RedisError> for Lost {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(error) => match advice(error) {
                Some(advice) => write!(f, "{advice} ({error})"),
                None => error.fmt(f),
            },
            Self::NoMaster => f.write_str("no host names a master, or is one"),
            Self::Cluster => f.write_str("llmpt's keys cannot be kept in a Cluster"),
        }
    }
}

/// What the texts of Redis and of the TLS library mean here; `None` where they say it themselves.
fn advice(error: &RedisError) -> Option<&'static str> {
    match error.code() {
        Some("NOAUTH") => return Some("it asks for a user and a password"),
        Some("WRONGPASS") => return Some("user or password is wrong"),
        Some("NOPERM") => return Some("the user lacks a permission"),
        _ => {}
    }
    if error.kind() == ErrorKind::AuthenticationFailed {
        return Some("user or password is wrong");
    }
    let text = error.to_string();
    let authority = "its certificate is not of an authority that is trusted: see shared.ca_file";
    let known = [
        ("UnknownIssuer", authority),
        // An authority of the same name is trusted.
        ("BadSignature", authority),
        ("NotValidForName", "its certificate is for another name"),
        ("not valid for name", "its certificate is for another name"),
        ("Expired", "its certificate has expired"),
        ("CertificateRequired", "it asks for a certificate of ours: see shared.cert_file"),
    ];
    known.iter().find(|(part, _)| text.contains(part)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operator_can_change_is_named() {
        let tls = "invalid peer certificate: UnknownIssuer";
        let tls = RedisError::from(std::io::Error::other(tls));
        let refused = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        let password = RedisError::from((ErrorKind::AuthenticationFailed, "no"));
        assert!(Lost::from(tls).to_string().contains("see shared.ca_file"));
        assert!(Lost::from(password).to_string().starts_with("user or password is wrong"));
        assert!(Lost::from(refused).to_string().starts_with("connection refused"));
    }
}
