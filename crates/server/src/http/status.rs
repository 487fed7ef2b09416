//! What a worker's connections have seen.

use std::sync::atomic::AtomicU64;

use peerage_proto::Family;
use peerage_tracker::Counter;

use crate::latency::Histogram;

/// What one worker's connections have seen since its start. Written by that worker alone, read by
/// any.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Status {
    families: [FamilyStatus; 2],
    /// Connections that ended here: closed by either side, or handed over.
    ended: Counter,
    /// Connections closed with 503 because of the bound on connections, or on those handed over.
    pub(crate) refused: Counter,
    /// Connections handed over to the web stack.
    pub(crate) handed_over: Counter,
    /// Connections closed because the client was too slow. Idle ones between two requests are not
    /// among them.
    pub(crate) timed_out: Counter,
    /// Connections closed because they stayed idle.
    pub(crate) idle_closed: Counter,
    /// Times accepting failed: mostly for want of file descriptors.
    pub(crate) accept_failures: Counter,
    /// Connections closed because their PROXY header was missing or wrong.
    pub(crate) bad_proxy_headers: Counter,
    /// Bytes of full scrapes, which are not among [`FamilyStatus::bytes_out`]. Written by their
    /// threads.
    pub(crate) full_scrape_bytes_out: AtomicU64,
    codes: [Counter; Status::CODES.len() + 1],
    /// From the moment requests were read until their replies were handed to the kernel.
    pub(crate) latency: Histogram,
}

/// What a worker's connections of one family have seen.
#[derive(Debug, Default)]
pub(crate) struct FamilyStatus {
    /// Connections accepted.
    pub(crate) accepted: Counter,
    /// Bytes read, those handed over included.
    pub(crate) bytes_in: Counter,
    /// Bytes written.
    pub(crate) bytes_out: Counter,
}

impl Status {
    /// The status codes that are counted one by one.
    pub(crate) const CODES: [u16; 11] = [200, 400, 403, 404, 405, 408, 413, 414, 431, 503, 505];

    /// Those of `family`.
    pub(crate) fn of(&self, family: Family) -> &FamilyStatus {
        &self.families[family as usize]
    }

    /// Connections open now. An instant's view: the counters are not read in one.
    pub(crate) fn open(&self) -> u64 {
        let accepted: u64 = self.families.iter().map(|family| family.accepted.get()).sum();
        accepted.saturating_sub(self.ended.get())
    }

    /// Replies by status code, those with a code not in [`Status::CODES`] last, as 0.
    pub(crate) fn replies(&self) -> impl Iterator<Item = (u16, u64)> {
        Self::CODES.into_iter().chain([0]).zip(&self.codes).map(|(code, count)| (code, count.get()))
    }

    /// Replies with any status code.
    pub(super) fn replied(&self) -> u64 {
        self.codes.iter().map(Counter::get).sum()
    }

    pub(super) fn count_ended(&self) {
        self.ended.add(1);
    }

    /// Counts the reply that begins with `HTTP/1.1 200`.
    pub(super) fn count_reply(&self, reply: &[u8]) {
        let digits = reply.get(9..12).unwrap_or_default();
        let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit & 15));
        let index = Self::CODES.iter().position(|known| *known == code);
        self.codes[index.unwrap_or(Self::CODES.len())].add(1);
    }
}
