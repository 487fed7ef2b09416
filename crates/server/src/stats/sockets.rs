//! What the workers' sockets have seen, added up.

use std::collections::BTreeMap;
use std::sync::Arc;

use peerage_proto::Family;
use peerage_tracker::{Counter, Tally};
use serde::Serialize;
use utoipa::ToSchema;

use super::ByProtocol;
use crate::latency::Latencies;
use crate::{http, udp};

/// The counters that the workers' sockets keep; one of each for each worker.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    /// Of UDP.
    pub(crate) udp: Vec<Arc<udp::Counters>>,
    /// Of HTTP.
    pub(crate) http: Vec<Arc<http::Status>>,
}

/// What went through the UDP sockets.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct UdpStats {
    /// Over IPv4.
    pub(crate) ipv4: DatagramStats,
    /// Over IPv6.
    pub(crate) ipv6: DatagramStats,
    /// Datagrams that were no request by their form.
    pub(crate) malformed: u64,
    /// Requests whose connection id was not valid.
    pub(crate) bad_connection_ids: u64,
}

/// Datagrams of one family. Bytes are without headers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct DatagramStats {
    /// Received.
    pub(crate) datagrams_in: u64,
    /// Sent.
    pub(crate) datagrams_out: u64,
    /// Received.
    pub(crate) bytes_in: u64,
    /// Sent.
    pub(crate) bytes_out: u64,
    /// Datagrams that the system dropped because a receive buffer was full.
    pub(crate) kernel_drops: u64,
    /// Datagrams that were too long to be a request.
    pub(crate) truncated: u64,
    /// Replies that the system did not take.
    pub(crate) send_failures: u64,
    /// Times that receiving failed.
    pub(crate) receive_failures: u64,
}

/// What went through the HTTP connections, until they were handed over to the pages.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct HttpStats {
    /// Over IPv4.
    pub(crate) ipv4: StreamStats,
    /// Over IPv6.
    pub(crate) ipv6: StreamStats,
    /// Connections open now.
    pub(crate) open: u64,
    /// Connections told to come later because there were too many.
    pub(crate) refused: u64,
    /// Connections handed over to the pages.
    pub(crate) handed_over: u64,
    /// Connections closed because the client was too slow.
    pub(crate) timed_out: u64,
    /// Connections closed because they stayed idle.
    pub(crate) idle_closed: u64,
    /// Times that accepting failed.
    pub(crate) accept_failures: u64,
    /// Connections closed because their PROXY header was missing or wrong.
    pub(crate) bad_proxy_headers: u64,
    /// Requests that could not be read.
    pub(crate) malformed: u64,
    /// Replies by status code; rare codes together as 0.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    pub(crate) replies: BTreeMap<u16, u64>,
}

/// Connections of one family.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct StreamStats {
    /// Accepted.
    pub(crate) accepted: u64,
    /// Bytes received.
    pub(crate) bytes_in: u64,
    /// Bytes sent.
    pub(crate) bytes_out: u64,
}

impl Workers {
    pub(super) fn datagrams(&self, family: Family) -> DatagramStats {
        let sum = |of: fn(&udp::FamilyCounters) -> &Counter| {
            self.udp.iter().map(|counters| of(counters.of(family)).get()).sum()
        };
        DatagramStats {
            datagrams_in: sum(|counters| &counters.datagrams_in),
            datagrams_out: sum(|counters| &counters.datagrams_out),
            bytes_in: sum(|counters| &counters.bytes_in),
            bytes_out: sum(|counters| &counters.bytes_out),
            kernel_drops: sum(|counters| &counters.kernel_drops),
            truncated: sum(|counters| &counters.truncated),
            send_failures: sum(|counters| &counters.send_failures),
            receive_failures: sum(|counters| &counters.receive_failures),
        }
    }

    pub(super) fn http(&self, tally: &Tally) -> HttpStats {
        let sum = |of: fn(&http::Status) -> &Counter| {
            self.http.iter().map(|status| of(status).get()).sum()
        };
        let mut replies = BTreeMap::new();
        for (code, count) in self.http.iter().flat_map(|status| status.replies()) {
            *replies.entry(code).or_default() += count;
        }
        HttpStats {
            ipv4: self.streams(Family::V4),
            ipv6: self.streams(Family::V6),
            open: self.http.iter().map(|status| status.open()).sum(),
            refused: sum(|status| &status.refused),
            handed_over: sum(|status| &status.handed_over),
            timed_out: sum(|status| &status.timed_out),
            idle_closed: sum(|status| &status.idle_closed),
            accept_failures: sum(|status| &status.accept_failures),
            bad_proxy_headers: sum(|status| &status.bad_proxy_headers),
            malformed: tally.malformed_requests,
            replies,
        }
    }

    fn streams(&self, family: Family) -> StreamStats {
        let families = || self.http.iter().map(|status| status.of(family));
        StreamStats {
            accepted: families().map(|status| status.accepted.get()).sum(),
            bytes_in: families().map(|status| status.bytes_in.get()).sum(),
            bytes_out: families().map(|status| status.bytes_out.get()).sum(),
        }
    }

    /// From a request's bytes being here to its reply being handed to the kernel.
    pub(super) fn latencies(&self) -> ByProtocol<Latencies> {
        let mut of = ByProtocol { udp: Latencies::default(), http: Latencies::default() };
        self.udp.iter().for_each(|counters| of.udp.add(&counters.latency));
        self.http.iter().for_each(|status| of.http.add(&status.latency));
        of
    }
}
