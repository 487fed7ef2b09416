//! The terms on which members take part: what the operator may change while the tracker runs.

use core::time::Duration;

use super::{Clients, Pricing};

/// What an announce of a member is measured by. Replaced as a whole, see
/// [`Private::change_terms`](super::Private::change_terms).
#[derive(Clone, Debug)]
pub struct Terms {
    /// What every transfer costs at most: [`Pricing::Free`] makes all torrents free.
    pub pricing: Pricing,
    /// Whether all uploads count twice.
    pub double_upload: bool,
    /// Who is let in.
    pub clients: Clients,
    /// Most peers of one member at one torrent. One more is warned, neither stored nor handed
    /// peers, and not accounted for.
    pub peers_per_torrent_max: u32,
    /// Most peers in all. One more is warned, neither stored nor handed peers.
    pub peers_max: u64,
    /// A peer not heard from for longer is not handed out, and dropped by the next
    /// [`Private::expire`](super::Private::expire).
    pub peer_timeout: Duration,
    /// A peer that announces again within so many seconds is warned and handed nobody; what it
    /// moved counts all the same. 0 for never. Not where it completes or stops.
    pub early_secs: u32,
    /// Whether a member without the right to download is charged for what comes anyway (from peers
    /// found elsewhere), before the announce is refused.
    pub charge_forbidden: bool,
    /// Who moves more bytes a second than this, between two announces, gets credit for none of it:
    /// such a number is made up. Counted.
    pub bytes_per_sec_max: u64,
    /// How long it is remembered why a torrent was deleted.
    pub deleted_kept: Duration,
    /// Rows that may wait for SQL. Beyond it peers that were only seen again are not written,
    /// peers that changed are written later, and peers that stop or expire are not written as
    /// such, each counted in [`LeftOut`](super::LeftOut). What is owed to members and torrents
    /// always waits.
    pub ledger_rows_max: usize,
}

impl Default for Terms {
    /// As Ocelot has them, where it has them.
    fn default() -> Self {
        Self {
            pricing: Pricing::Normal,
            double_upload: false,
            clients: Clients::default(),
            peers_per_torrent_max: 3,
            peers_max: 20_000_000,
            peer_timeout: Duration::from_secs(2 * 3600),
            early_secs: 60,
            charge_forbidden: true,
            bytes_per_sec_max: 1 << 40,
            deleted_kept: Duration::from_secs(24 * 3600),
            ledger_rows_max: 1_000_000,
        }
    }
}
