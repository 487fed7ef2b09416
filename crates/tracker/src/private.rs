//! Private mode: members and registered torrents alone, with an account of what each moved.
//!
//! Peers are known by (member, peer_id). What they move is counted from the differences between
//! announces and merges in the [`Ledger`], from which it goes to SQL in batches.

mod rows;

pub use rows::{
    Batch, Client, Member, MemberDelta, MemberId, Passkey, PeerKey, PeerRow, PeerVisit, Pricing,
    Snatch, Token, TokenUse, Torrent, TorrentId, TorrentRow,
};
