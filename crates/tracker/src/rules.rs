//! The rules in force: what the operator may change while the tracker runs.

use alloc::sync::Arc;
use core::net::IpAddr;

use crate::{AccessList, IntervalLimits, Prefix};

/// What an announce is measured by. Replaced as a whole, see
/// [`Tracker::set_rules`](crate::Tracker::set_rules).
#[derive(Clone, Debug)]
pub struct Rules {
    /// Most peers in one reply, both families together. A UDP reply also has to fit its buffer.
    pub peers_per_response_max: u32,
    /// Peers in a reply to a client that does not say how many it wants.
    pub numwant_default: u32,
    /// The bounds of the announce interval.
    pub interval: IntervalLimits,
    /// How long before a client may announce again, in seconds: sent as `min interval`, not
    /// enforced.
    pub min_interval_secs: u32,
    /// Each reply's interval is drawn from the interval to this many seconds more, so that clients
    /// that came together do not come back together.
    pub jitter_secs: u32,
    /// Whether a scrape that names no info_hash is answered with all swarms (HTTP only).
    pub full_scrape: bool,
    /// Most info_hashes in one HTTP scrape.
    pub scrape_hashes_max: u32,
    /// Whether an HTTP connection may serve more than one request. If not, each is closed after
    /// its reply, whatever its client asks for.
    pub keep_alive: bool,
    /// From where a client of an open tracker may say at which address it is to be known.
    pub claims_from: Arc<[Prefix]>,
    /// Which swarms may be.
    pub access: Arc<AccessList>,
}

impl Rules {
    /// The address a client is known by: the one it is seen at, unless it is somewhere from where
    /// it may claim another. What no peer can listen on is never believed.
    pub(crate) fn address(&self, seen: IpAddr, claimed: impl FnOnce() -> Option<IpAddr>) -> IpAddr {
        if !self.claims_from.iter().any(|prefix| prefix.contains(seen)) {
            return seen;
        }
        let is_of_a_host = |address: &IpAddr| match address {
            IpAddr::V4(address) => {
                !(address.is_unspecified() || address.is_multicast() || address.is_broadcast())
            }
            IpAddr::V6(address) => !(address.is_unspecified() || address.is_multicast()),
        };
        claimed().filter(is_of_a_host).unwrap_or(seen)
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            peers_per_response_max: 100,
            numwant_default: 50,
            interval: IntervalLimits::default(),
            min_interval_secs: 240,
            jitter_secs: 60,
            full_scrape: false,
            scrape_hashes_max: 100,
            keep_alive: true,
            claims_from: Arc::default(),
            access: Arc::default(),
        }
    }
}
