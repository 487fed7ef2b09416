//! Which clients announce: the beginnings of peer_ids, from samples, over the last hour.
//!
//! A peer_id is what its client chose to write, so whoever wants to can fill the list with
//! inventions: what is kept is bounded, and in a full table the rarest gives way.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use peerage_tracker::Now;
use serde::Serialize;
use utoipa::ToSchema;

use super::client_names::{AZUREUS, SHADOW, Version};

/// Clients told.
const TOP: usize = 20;

/// An hour is so many tables, the newest of which is being filled.
const TABLES: usize = 12;
const TABLE_TIME: Duration = Duration::from_secs(300);

/// Clients in one table. One more takes the place of the rarest, and its count too, so that one
/// that keeps coming is not lost: a count is never too low, and too high by that of the rarest.
const CLIENTS_MAX: usize = 256;

/// A client, and how often it announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ClientStats {
    /// What its peer_ids begin with; empty for all that begin with nothing known.
    pub(crate) prefix: String,
    /// What it is called, if that is known.
    #[schema(required)]
    pub(crate) name: Option<String>,
    /// About how many announces of the last hour were its.
    pub(crate) announces: u64,
}

/// What the peer_ids of one client and version have in common, zeros after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Prefix([u8; 8]);

/// The clients of the last hour.
#[derive(Debug)]
pub(super) struct Clients {
    /// The newest last; at most [`TABLES`], each with when it was begun.
    tables: VecDeque<(Now, HashMap<Prefix, u64>)>,
}

impl Clients {
    /// None so far.
    pub(super) fn new() -> Self {
        Self { tables: VecDeque::new() }
    }

    /// Takes note of a client, by the first bytes of its peer_id, that made so many announces.
    pub(super) fn add(&mut self, now: Now, peer_id: [u8; 8], announces: u32) {
        let is_old = |(begun, _): &(Now, _)| now.since(*begun) >= TABLE_TIME;
        if self.tables.back().is_none_or(is_old) {
            self.tables.push_back((now, HashMap::new()));
        }
        self.forget(now);
        let Some((_, table)) = self.tables.back_mut() else {
            unreachable!("there is one that is not old");
        };
        let prefix = Prefix::of(peer_id);
        let mut before = 0;
        if table.len() >= CLIENTS_MAX && !table.contains_key(&prefix) {
            let rarest = table.iter().map(|(prefix, count)| (*count, *prefix)).min();
            if let Some((count, rarest)) = rarest {
                table.remove(&rarest);
                before = count;
            }
        }
        *table.entry(prefix).or_insert(before) += u64::from(announces);
    }

    /// The clients that announced most.
    pub(super) fn top(&mut self, now: Now) -> Vec<ClientStats> {
        self.forget(now);
        let mut sums = HashMap::<Prefix, u64>::new();
        for (prefix, count) in self.tables.iter().flat_map(|(_, table)| table) {
            *sums.entry(*prefix).or_default() += count;
        }
        let mut all: Vec<_> = sums.into_iter().map(|(prefix, count)| (count, prefix)).collect();
        all.sort_unstable_by(|one, other| other.cmp(one));
        let stats = |(announces, prefix): (u64, Prefix)| ClientStats {
            prefix: prefix.text().into(),
            name: prefix.name(),
            announces,
        };
        all.into_iter().take(TOP).map(stats).collect()
    }

    fn forget(&mut self, now: Now) {
        let hour = TABLE_TIME * TABLES as u32;
        while self.tables.front().is_some_and(|(begun, _)| now.since(*begun) >= hour) {
            self.tables.pop_front();
        }
    }
}

impl Prefix {
    /// What the first bytes of a peer_id say of its client; empty where they are in no known style,
    /// which the rest of a peer_id, random, would else be taken for.
    fn of(peer_id: [u8; 8]) -> Self {
        let length = match peer_id {
            // -TR4060-
            [b'-', name @ .., b'-'] if name.iter().all(|&byte| is_plain(byte)) => 7,
            // M7-9-2--, A2-1-36-: the first letter, and numbers between hyphens.
            [b'M', b'0'..=b'9', b'-', rest @ ..] | [b'A', b'2', b'-', rest @ ..]
                if rest.iter().all(|&byte| byte == b'-' || byte.is_ascii_digit()) =>
            {
                peer_id.iter().rposition(|&byte| byte != b'-').map_or(0, |last| last + 1)
            }
            // TIX0284-
            [b'T', b'I', b'X', version @ .., b'-'] if version.iter().all(u8::is_ascii_digit) => 7,
            // T03I----
            [first, ..] if SHADOW.iter().any(|&(letter, _)| letter == first) => {
                let version = &peer_id[1..];
                let length = version.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
                let hyphens = version[length..].iter().all(|&byte| byte == b'-');
                if hyphens && (1..=5).contains(&length) { 1 + length } else { 0 }
            }
            _ => 0,
        };
        let mut prefix = [0; 8];
        prefix[..length].copy_from_slice(&peer_id[..length]);
        Self(prefix)
    }

    fn bytes(&self) -> &[u8] {
        self.0.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(self.bytes()).expect("it is ASCII, or empty")
    }

    /// The client's name, with its version where that can be read.
    fn name(&self) -> Option<String> {
        match self.bytes() {
            [b'-', a, b, version @ ..] => {
                let known = AZUREUS.iter().find(|(code, ..)| **code == [*a, *b]);
                let (_, name, style) = known?;
                Some(with_version(name, style.read(version)))
            }
            [b'M', version @ ..] => Some(with_version("BitTorrent", Some(dotted(version)))),
            [b'A', b'2', b'-', version @ ..] => Some(with_version("aria2", Some(dotted(version)))),
            [b'T', b'I', b'X', version @ ..] => {
                Some(with_version("Tixati", Version::Pairs.read(version)))
            }
            [first, ..] => {
                let known = SHADOW.iter().find(|(letter, _)| letter == first);
                known.map(|(_, name)| (*name).into())
            }
            [] => None,
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"~.+_!".contains(&byte)
}

fn with_version(name: &str, version: Option<String>) -> String {
    version.map_or_else(|| name.into(), |version| format!("{name} {version}"))
}

/// `7-9-2` as 7.9.2.
fn dotted(version: &[u8]) -> String {
    String::from_utf8_lossy(version).replace('-', ".")
}

impl Version {
    /// Reads a version of four characters; `None` where it is not written in this way.
    fn read(self, version: &[u8]) -> Option<String> {
        let digit = |byte: &u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'A'..=b'Z' => Some(byte - b'A' + 10),
            _ => None,
        };
        let [first, second, third, fourth] = version else { return None };
        let (a, b, c) = (digit(first)?, digit(second)?, digit(third)?);
        match self {
            Self::Unknown => None,
            Self::Transmission if a < 4 => Some(format!("{a}.{b}{c}")),
            Self::Transmission => Some(format!("{a}.{b}.{c}")),
            // A letter in the fourth place says what kind of build it is.
            Self::Dotted => Some(match fourth {
                b'1'..=b'9' => format!("{a}.{b}.{c}.{}", fourth - b'0'),
                _ => format!("{a}.{b}.{c}"),
            }),
            Self::Pairs => {
                Some(format!("{}.{c}{}", u16::from(a) * 10 + u16::from(b), digit(fourth)?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(peer_id: &[u8; 8], prefix: &str, name: Option<&str>) {
        let found = Prefix::of(*peer_id);
        assert_eq!((found.text(), found.name().as_deref()), (prefix, name));
    }

    #[test]
    fn clients_are_named_with_their_versions() {
        check(b"-TR4060-", "-TR4060", Some("Transmission 4.0.6"));
        check(b"-TR2940-", "-TR2940", Some("Transmission 2.94"));
        check(b"-qB4650-", "-qB4650", Some("qBittorrent 4.6.5"));
        check(b"-LT20B0-", "-LT20B0", Some("libtorrent 2.0.11"));
        check(b"-lt0D80-", "-lt0D80", Some("rTorrent (libtorrent) 0.13.8"));
        check(b"-DE211s-", "-DE211s", Some("Deluge 2.1.1"));
        check(b"-AZ5761-", "-AZ5761", Some("Vuze 5.7.6.1"));
        check(b"-BC0199-", "-BC0199", Some("BitComet 1.99"));
        check(b"-UT355W-", "-UT355W", Some("µTorrent 3.5.5"));
        check(b"A2-1-36-", "A2-1-36", Some("aria2 1.36"));
        check(b"M7-9-2--", "M7-9-2", Some("BitTorrent 7.9.2"));
        check(b"TIX0284-", "TIX0284", Some("Tixati 2.84"));
        check(b"T03I----", "T03I", Some("BitTornado"));
        check(b"-GT0003-", "-GT0003", Some("anacrolix/torrent"));
        check(b"-??0001-", "", None);
        check(b"-ZZ0001-", "-ZZ0001", None);
    }

    #[test]
    fn what_is_in_no_style_is_one_client_without_a_name() {
        for peer_id in [b"\0\0\0\0\0\0\0\0", b"-TR4060x", b"-\"<>&; -", b"S\xff000---", b"random77"]
        {
            check(peer_id, "", None);
        }
    }

    #[test]
    fn clients_that_announce_most_come_first_and_are_forgotten_after_an_hour() {
        let mut clients = Clients::new();
        let at = |secs: u64| Now::from_millis(secs * 1000);
        for secs in 0..3600 {
            clients.add(at(secs), *b"-TR4060-", 2);
            clients.add(at(secs), *b"-qB4650-", 1);
        }
        let top = clients.top(at(3599));
        assert_eq!((top[0].prefix.as_str(), top[0].announces), ("-TR4060", 7200));
        assert_eq!((top[1].prefix.as_str(), top[1].announces), ("-qB4650", 3600));
        assert_eq!(clients.top(at(3600 + 300))[1].announces, 3600 - 600);
        assert!(clients.top(at(3600 + 3600)).is_empty());
    }

    #[test]
    fn inventions_are_bounded_and_do_not_hide_the_common() {
        let mut clients = Clients::new();
        for number in 0..20_000_u32 {
            let invented = format!("-{:06}-", number % 999_999);
            clients.add(Now::default(), invented.as_bytes().try_into().unwrap(), 1);
            clients.add(Now::default(), *b"-TR4060-", 1);
        }
        let top = clients.top(Now::default());
        assert_eq!(top.len(), TOP);
        assert_eq!((top[0].prefix.as_str(), top[0].announces), ("-TR4060", 20_000));
        assert_eq!(clients.tables[0].1.len(), CLIENTS_MAX);
    }
}
