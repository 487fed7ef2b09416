//! The bencoded bodies of replies: canonical, keys in rising order (BEP 3).

use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::query::Form;
use crate::bencode::{Dict, List};
use crate::{InfoHash, PeerId};

/// The peers of an announce reply, each in compact form (address, then port, big-endian).
#[derive(Clone, Copy, Debug, Default)]
pub struct PeerList<'a> {
    /// IPv4 peers.
    pub v4: &'a [[u8; 6]],
    /// IPv6 peers.
    pub v6: &'a [[u8; 18]],
    /// The peer_ids of `v4`, in its order; empty where they are not known.
    pub ids_v4: &'a [PeerId],
    /// The peer_ids of `v6`, in its order; empty where they are not known.
    pub ids_v6: &'a [PeerId],
}

/// What a granted announce is answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnnounceReply<'a> {
    /// `complete`.
    pub seeders: u32,
    /// `incomplete`.
    pub leechers: u32,
    /// `downloaded`.
    pub completed: u32,
    /// `interval`, in seconds.
    pub interval_secs: u32,
    /// `min interval`, in seconds.
    pub min_interval_secs: u32,
    /// `external ip`: the address the client is seen at (BEP 24).
    pub external_ip: Option<IpAddr>,
    /// `warning message`.
    pub warning: Option<&'a str>,
    /// `peers`, always there though it be empty (rTorrent fails without), and in compact form
    /// `peers6` where there are any (BEP 7).
    pub peers: PeerList<'a>,
}

impl AnnounceReply<'_> {
    /// Appends the body.
    pub fn write(&self, form: Form, out: &mut Vec<u8>) {
        let mut dict = Dict::open(out);
        dict.integer(b"complete", self.seeders);
        dict.integer(b"downloaded", self.completed);
        match self.external_ip {
            Some(IpAddr::V4(ip)) => dict.bytes(b"external ip", &ip.octets()),
            Some(IpAddr::V6(ip)) => dict.bytes(b"external ip", &ip.octets()),
            None => {}
        }
        dict.integer(b"incomplete", self.leechers);
        dict.integer(b"interval", self.interval_secs);
        dict.integer(b"min interval", self.min_interval_secs);
        match form {
            Form::Compact => {
                dict.bytes(b"peers", self.peers.v4.as_flattened());
                if !self.peers.v6.is_empty() {
                    dict.bytes(b"peers6", self.peers.v6.as_flattened());
                }
            }
            Form::Dictionary => self.peers.write_list(dict.list(b"peers")),
            Form::DictionaryWithoutPeerId => {
                let peers = PeerList { ids_v4: &[], ids_v6: &[], ..self.peers };
                peers.write_list(dict.list(b"peers"));
            }
        }
        if let Some(warning) = self.warning {
            dict.bytes(b"warning message", warning.as_bytes());
        }
        dict.close();
    }
}

impl PeerList<'_> {
    /// Both families in one list: the dictionary form knows no `peers6`.
    fn write_list(&self, mut list: List<'_>) {
        for (index, [ip @ .., port_high, port_low]) in self.v4.iter().enumerate() {
            let port = u16::from_be_bytes([*port_high, *port_low]);
            write_peer(&mut list, Ipv4Addr::from(*ip).into(), self.ids_v4.get(index), port);
        }
        for (index, [ip @ .., port_high, port_low]) in self.v6.iter().enumerate() {
            let port = u16::from_be_bytes([*port_high, *port_low]);
            write_peer(&mut list, Ipv6Addr::from(*ip).into(), self.ids_v6.get(index), port);
        }
        list.close();
    }
}

fn write_peer(list: &mut List<'_>, ip: IpAddr, peer_id: Option<&PeerId>, port: u16) {
    let mut text = IpText { bytes: [0; IP_TEXT_MAX], length: 0 };
    write!(text, "{ip}").expect("the longest address fits");
    let mut peer = list.dict();
    peer.bytes(b"ip", &text.bytes[..text.length]);
    if let Some(peer_id) = peer_id {
        peer.bytes(b"peer id", &peer_id.0);
    }
    peer.integer(b"port", port);
    peer.close();
}

/// `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255` has 45.
const IP_TEXT_MAX: usize = 45;

/// Where an address is written before its length is known.
struct IpText {
    bytes: [u8; IP_TEXT_MAX],
    length: usize,
}

impl Write for IpText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes[self.length..].get_mut(..text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}

/// The counts of one swarm in a scrape reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrapeCounts {
    /// `complete`.
    pub seeders: u32,
    /// `incomplete`.
    pub leechers: u32,
    /// Of the leechers, those that want no more; the others are `downloaders` (BEP 21).
    pub paused: u32,
    /// `downloaded`.
    pub completed: u32,
}

/// What a scrape is answered (BEP 48), written swarm by swarm.
#[must_use = "a reply that is not closed is not bencode"]
pub struct ScrapeReply<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> ScrapeReply<'a> {
    /// Appends what comes before the swarms.
    pub fn open(out: &'a mut Vec<u8>) -> Self {
        out.extend_from_slice(b"d5:filesd");
        Self { out }
    }

    /// Goes on with a reply opened earlier into another buffer: for a body sent in pieces.
    pub fn resume(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Appends a swarm. To be canonical they come in rising order, each once.
    pub fn swarm(&mut self, info_hash: &InfoHash, counts: ScrapeCounts) {
        self.out.extend_from_slice(b"20:");
        self.out.extend_from_slice(&info_hash.0);
        let mut dict = Dict::open(self.out);
        dict.integer(b"complete", counts.seeders);
        dict.integer(b"downloaded", counts.completed);
        dict.integer(b"downloaders", counts.leechers.saturating_sub(counts.paused));
        dict.integer(b"incomplete", counts.leechers);
        dict.close();
    }

    /// Ends the reply. `min_request_interval_secs` is a flag that Transmission reads: how long to
    /// wait before the next scrape.
    pub fn close(self, min_request_interval_secs: Option<u32>) {
        self.out.push(b'e');
        if let Some(seconds) = min_request_interval_secs {
            self.out.extend_from_slice(b"5:flags");
            let mut flags = Dict::open(self.out);
            flags.integer(b"min_request_interval", seconds);
            flags.close();
        }
        self.out.push(b'e');
    }
}

/// When a refused client may ask again (BEP 31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryIn {
    /// After so many minutes.
    Minutes(u32),
    /// Not before something is changed.
    Never,
}

/// What a refused announce or scrape is answered.
#[derive(Clone, Copy, Debug)]
pub struct FailureReply<'a> {
    /// `failure reason`.
    pub reason: &'a str,
    /// `interval`, in seconds, which libtorrent and rTorrent read here too.
    pub interval_secs: Option<u32>,
    /// `min interval`, in seconds, likewise.
    pub min_interval_secs: Option<u32>,
    /// `retry in`.
    pub retry_in: Option<RetryIn>,
}

impl<'a> FailureReply<'a> {
    /// A reason and nothing else.
    pub const fn new(reason: &'a str) -> Self {
        Self { reason, interval_secs: None, min_interval_secs: None, retry_in: None }
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut dict = Dict::open(out);
        dict.bytes(b"failure reason", self.reason.as_bytes());
        if let Some(interval_secs) = self.interval_secs {
            dict.integer(b"interval", interval_secs);
        }
        if let Some(min_interval_secs) = self.min_interval_secs {
            dict.integer(b"min interval", min_interval_secs);
        }
        match self.retry_in {
            Some(RetryIn::Minutes(minutes)) => dict.integer(b"retry in", minutes),
            Some(RetryIn::Never) => dict.bytes(b"retry in", b"never"),
            None => {}
        }
        dict.close();
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::bencode::tests::Value;

    // 192.0.2.1:6881, 192.0.2.2:80 and [2001:db8::1]:6882.
    const V4: [[u8; 6]; 2] = [[192, 0, 2, 1, 0x1a, 0xe1], [192, 0, 2, 2, 0, 80]];
    const V6: [[u8; 18]; 1] =
        [[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x1a, 0xe2]];
    const IDS_V4: [PeerId; 2] =
        [PeerId(*b"-XX0001-aaaaaaaaaaaa"), PeerId(*b"-XX0001-bbbbbbbbbbbb")];
    const IDS_V6: [PeerId; 1] = [PeerId(*b"-XX0001-cccccccccccc")];

    const REPLY: AnnounceReply<'_> = AnnounceReply {
        seeders: 5,
        leechers: 0,
        completed: 4_294_967_295,
        interval_secs: 1800,
        min_interval_secs: 240,
        external_ip: None,
        warning: None,
        peers: PeerList { v4: &V4, v6: &V6, ids_v4: &IDS_V4, ids_v6: &IDS_V6 },
    };

    #[track_caller]
    fn check(reply: &AnnounceReply<'_>, form: Form, expected: &str) {
        let mut out = Vec::new();
        reply.write(form, &mut out);
        Value::read(&out);
        let text: String = out.iter().flat_map(|b| b.escape_ascii()).map(char::from).collect();
        assert_eq!(text, expected);
    }

    #[test]
    fn compact_reply_is_exact_to_the_byte() {
        check(
            &REPLY,
            Form::Compact,
            "d8:completei5e10:downloadedi4294967295e10:incompletei0e8:intervali1800e\
             12:min intervali240e5:peers12:\\xc0\\x00\\x02\\x01\\x1a\\xe1\\xc0\\x00\\x02\\x02\\x00P\
             6:peers618: \\x01\\r\\xb8\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\
             \\x1a\\xe2e",
        );
    }

    #[test]
    fn peers_are_there_though_there_are_none() {
        let reply = AnnounceReply { peers: PeerList::default(), ..REPLY };
        let head = "d8:completei5e10:downloadedi4294967295e10:incompletei0e8:intervali1800e\
                    12:min intervali240e5:peers";
        for (form, peers) in [
            (Form::Compact, "0:e"),
            (Form::Dictionary, "lee"),
            (Form::DictionaryWithoutPeerId, "lee"),
        ] {
            check(&reply, form, &[head, peers].concat());
        }
    }

    #[test]
    fn dictionary_form_mixes_families_in_one_list() {
        let head = "d8:completei5e10:downloadedi4294967295e10:incompletei0e8:intervali1800e\
                    12:min intervali240e5:peersl";
        let with_ids = "d2:ip9:192.0.2.17:peer id20:-XX0001-aaaaaaaaaaaa4:porti6881ee\
                        d2:ip9:192.0.2.27:peer id20:-XX0001-bbbbbbbbbbbb4:porti80ee\
                        d2:ip11:2001:db8::17:peer id20:-XX0001-cccccccccccc4:porti6882eeee";
        check(&REPLY, Form::Dictionary, &[head, with_ids].concat());
        let without = "d2:ip9:192.0.2.14:porti6881eed2:ip9:192.0.2.24:porti80ee\
                       d2:ip11:2001:db8::14:porti6882eeee";
        check(&REPLY, Form::DictionaryWithoutPeerId, &[head, without].concat());
        // A store that keeps no ids.
        let peers = PeerList { ids_v4: &[], ids_v6: &[], ..REPLY.peers };
        check(&AnnounceReply { peers, ..REPLY }, Form::Dictionary, &[head, without].concat());
    }

    #[test]
    fn longest_address_is_written_whole() {
        let ip: Ipv6Addr = "2001:1db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        let mut peer = [0xff; 18];
        peer[..16].copy_from_slice(&ip.octets());
        let mapped = Ipv4Addr::new(255, 255, 255, 255).to_ipv6_mapped();
        let mut mapped_peer = [0xff; 18];
        mapped_peer[..16].copy_from_slice(&mapped.octets());
        let v6 = [peer, mapped_peer];
        let peers = PeerList { v6: &v6, ..PeerList::default() };
        let mut out = Vec::new();
        AnnounceReply { peers, ..REPLY }.write(Form::Dictionary, &mut out);
        let reply = Value::read(&out);
        let Value::List(list) = reply.at(b"peers") else { panic!("a list") };
        let ips: Vec<_> = list.iter().map(|peer| peer.at(b"ip").clone()).collect();
        let text = |text: &str| Value::Bytes(text.into());
        assert_eq!(
            ips,
            [text("2001:1db8:ffff:ffff:ffff:ffff:ffff:ffff"), text("::ffff:255.255.255.255")]
        );
    }

    #[test]
    fn external_ip_and_warning_are_in_their_places() {
        let mut reply = AnnounceReply {
            external_ip: Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7))),
            warning: Some("full"),
            ..REPLY
        };
        for (ip, octets) in [
            (reply.external_ip, &[203, 0, 113, 7][..]),
            (Some(IpAddr::V6(Ipv6Addr::LOCALHOST)), &Ipv6Addr::LOCALHOST.octets()),
        ] {
            reply.external_ip = ip;
            let mut out = Vec::new();
            reply.write(Form::Compact, &mut out);
            let value = Value::read(&out);
            assert_eq!(value.at(b"external ip"), &Value::Bytes(octets.into()));
            assert_eq!(value.at(b"warning message"), &Value::Bytes(b"full".into()));
        }
    }

    #[test]
    fn scrape_reply_is_that_of_bep_48_with_downloaders_of_bep_21() {
        let mut out = Vec::new();
        let mut files = ScrapeReply::open(&mut out);
        let counts = ScrapeCounts { seeders: 5, leechers: 10, paused: 4, completed: 50 };
        files.swarm(&InfoHash(*b"aaaaaaaaaaaaaaaaaaaa"), counts);
        files.swarm(&InfoHash(*b"bbbbbbbbbbbbbbbbbbbb"), ScrapeCounts::default());
        files.close(Some(1800));
        Value::read(&out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei5e10:downloadedi50e11:downloadersi6e\
             10:incompletei10ee20:bbbbbbbbbbbbbbbbbbbbd8:completei0e10:downloadedi0e\
             11:downloadersi0e10:incompletei0eee5:flagsd20:min_request_intervali1800eee"
        );
        let mut out = Vec::new();
        ScrapeReply::open(&mut out).close(None);
        assert_eq!(out, b"d5:filesdee");
    }

    #[test]
    fn failure_says_why_and_when_to_come_back() {
        let check = |reply: FailureReply<'_>, expected: &str| {
            let mut out = Vec::new();
            reply.write(&mut out);
            Value::read(&out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        let bare = FailureReply::new("no");
        check(bare, "d14:failure reason2:noe");
        let full = FailureReply {
            interval_secs: Some(1800),
            min_interval_secs: Some(60),
            retry_in: Some(RetryIn::Minutes(30)),
            ..bare
        };
        check(full, "d14:failure reason2:no8:intervali1800e12:min intervali60e8:retry ini30ee");
        let never = FailureReply { retry_in: Some(RetryIn::Never), ..bare };
        check(never, "d14:failure reason2:no8:retry in5:nevere");
    }
}
