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
