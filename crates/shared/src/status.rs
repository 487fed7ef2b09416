//! What is counted of the trips, for metrics and for whoever asks whether the node is ready.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Written by the loop alone, read by any.
#[derive(Debug, Default)]
pub struct Status {
    /// Whether all of Redis is connected.
    connected: AtomicBool,
    /// Milliseconds since 1970, by the node's clock, when Redis last answered; 0 for never.
    seen_millis: AtomicU64,
    /// Pipelines sent and answered.
    pub(crate) trips: AtomicU64,
    /// Pipelines that were not answered.
    pub(crate) failures: AtomicU64,
    /// Swarms updated.
    pub(crate) swarms: AtomicU64,
    /// Peers told.
    pub(crate) peers: AtomicU64,
    /// Swarms Redis would not update.
    pub(crate) refused: AtomicU64,
    /// Bytes of what was sent.
    pub(crate) bytes_out: AtomicU64,
    /// Messages of other nodes.
    pub(crate) messages_in: AtomicU64,
    /// Messages of other nodes for which there was no room.
    pub(crate) messages_dropped: AtomicU64,
    /// Messages of another version than ours.
    pub(crate) messages_unknown: AtomicU64,
    /// Messages to other nodes.
    pub(crate) messages_out: AtomicU64,
    /// Times a connection was made.
    pub(crate) connections: AtomicU64,
    /// Times that Redis had lost something, so that everything was told again.
    pub(crate) starts_over: AtomicU64,
    /// Microseconds the last pipeline took.
    pub(crate) trip_micros: AtomicU64,
}

impl Status {
    /// Whether all of Redis is connected.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Milliseconds since 1970, by the node's clock, when Redis last answered; `None` for never.
    pub fn seen_millis(&self) -> Option<u64> {
        Some(self.seen_millis.load(Ordering::Relaxed)).filter(|millis| *millis != 0)
    }

    /// Each counter: its name, what it counts, and the count.
    pub fn counters(&self) -> [(&'static str, &'static str, u64); 12] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("trips", "Pipelines that Redis has answered.", read(&self.trips)),
            ("trip_failures", "Pipelines that Redis has not answered.", read(&self.failures)),
            ("swarms", "Swarms updated in Redis.", read(&self.swarms)),
            ("swarms_refused", "Swarms Redis would not update.", read(&self.refused)),
            ("peers", "Peers told to Redis.", read(&self.peers)),
            ("bytes_sent", "Bytes sent to Redis in pipelines.", read(&self.bytes_out)),
            ("messages_received", "Messages of other nodes.", read(&self.messages_in)),
            (
                "messages_dropped",
                "Messages of other nodes for which there was no room.",
                read(&self.messages_dropped),
            ),
            (
                "messages_unknown",
                "Messages of nodes that speak another version, passed over.",
                read(&self.messages_unknown),
            ),
            ("messages_sent", "Messages to other nodes.", read(&self.messages_out)),
            ("connections", "Connections made to Redis.", read(&self.connections)),
            (
                "starts_over",
                "Times that everything was told again, for Redis had lost some of it.",
                read(&self.starts_over),
            ),
        ]
    }

    /// How long the last pipeline took, in microseconds.
    pub fn trip_micros(&self) -> u64 {
        self.trip_micros.load(Ordering::Relaxed)
    }

    pub(crate) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    pub(crate) fn saw(&self, millis: u64) {
        self.seen_millis.store(millis, Ordering::Relaxed);
    }

    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}
