//! What an announce is worth: the bytes moved since the one before, and who is credited with them.
//!
//! # What moved
//!
//! | announce | moved | baseline |
//! |---|---|---|
//! | the first of its peer | nothing | as announced |
//! | `started`, of whatever peer | nothing | as announced; announces and times begin anew |
//! | `uploaded` or `downloaded` below the baseline | nothing of that one | as announced |
//! | more than `Terms::bytes_per_sec_max` allows | nothing; counted | as announced |
//! | any other, `stopped` and `completed` included | the difference | as announced |
//!
//! Each moves by itself. A client that begins anew counts all of them from 0; but what libtorrent
//! has downloaded goes back while it runs, by the part of a block that was there when a connection
//! ended and by a piece that failed its hash, and what it uploaded meanwhile is not to be lost.
//! `corrupt` that is not said (UDP) is no difference.
//!
//! # Who is credited
//!
//! The price is the torrent's or everyone's, whichever is dearer to the tracker: neutral before
//! free before normal.
//!
//! | price | no token | token | free leech of the member | token and free leech |
//! |---|---|---|---|---|
//! | normal | up, down | up; down on the token | up | up; down on the token |
//! | free | up | up; down on the token | up | up; down on the token |
//! | neutral | nothing | nothing | nothing | nothing |
//!
//! `up` counts twice where the torrent, the member or everyone has double upload; never four
//! times. The torrent's balance takes what moved as it is: up less down less corrupt, at any price.

use super::Pricing;

/// What moved since the announce before, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delta {
    pub(super) uploaded: u64,
    pub(super) downloaded: u64,
    pub(super) corrupt: u64,
}

/// What the client counts, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) uploaded: u64,
    pub(super) downloaded: u64,
    /// `None` where it does not say.
    pub(super) corrupt: Option<u64>,
}

/// What became of the difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measured {
    /// It counts.
    Moved(Delta),
    /// It is more than can be.
    Absurd,
}

/// Compares what a client counts with its baseline, `elapsed_secs` before.
pub(super) fn measure(
    before: Counted,
    now: Counted,
    elapsed_secs: u64,
    bytes_per_sec_max: u64,
) -> Measured {
    let uploaded = now.uploaded.saturating_sub(before.uploaded);
    let downloaded = now.downloaded.saturating_sub(before.downloaded);
    let bytes_max = bytes_per_sec_max.saturating_mul(elapsed_secs.max(1));
    if bytes_max < uploaded.max(downloaded) {
        return Measured::Absurd;
    }
    let corrupt = now.corrupt.unwrap_or(0).saturating_sub(before.corrupt.unwrap_or(0));
    Measured::Moved(Delta { uploaded, downloaded, corrupt })
}

/// What a transfer costs and earns, all told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Price {
    pub(super) pricing: Pricing,
    pub(super) double_upload: bool,
    pub(super) free_leech: bool,
    pub(super) token: bool,
    /// The member may not download, and is not charged for what comes anyway.
    pub(super) uncharged: bool,
}

/// What is written, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Credit {
    pub(super) uploaded: u64,
    pub(super) downloaded: u64,
    /// What a token made free.
    pub(super) on_token: u64,
}

impl Price {
    pub(super) fn credit(self, moved: Delta) -> Credit {
        if self.pricing == Pricing::Neutral {
            return Credit::default();
        }
        let Delta { uploaded, mut downloaded, .. } = moved;
        if self.uncharged {
            downloaded = 0;
        }
        let is_free = self.pricing == Pricing::Free || self.free_leech || self.token;
        Credit {
            uploaded: if self.double_upload { uploaded.saturating_mul(2) } else { uploaded },
            downloaded: if is_free { 0 } else { downloaded },
            on_token: if self.token { downloaded } else { 0 },
        }
    }
}

impl Pricing {
    /// The one that counts less.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Neutral, _) | (_, Self::Neutral) => Self::Neutral,
            (Self::Free, _) | (_, Self::Free) => Self::Free,
            (Self::Normal, Self::Normal) => Self::Normal,
        }
    }
}

impl Delta {
    pub(super) fn is_none(self) -> bool {
        self == Self::default()
    }

    /// What it adds to a torrent's balance.
    pub(super) fn balance(self) -> i64 {
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let spent = signed(self.downloaded).saturating_add(signed(self.corrupt));
        signed(self.uploaded).saturating_sub(spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOVED: Delta = Delta { uploaded: 1000, downloaded: 300, corrupt: 7 };

    fn credit(pricing: Pricing, double_upload: bool, free_leech: bool, token: bool) -> Credit {
        Price { pricing, double_upload, free_leech, token, uncharged: false }.credit(MOVED)
    }

    #[test]
    fn every_cell_of_the_table_is_as_it_says() {
        use Pricing::{Free, Neutral, Normal};
        // Price; then by no token, token, free leech, both: uploaded, downloaded, on the token.
        let cases = [
            (Normal, [(1000, 300, 0), (1000, 0, 300), (1000, 0, 0), (1000, 0, 300)]),
            (Free, [(1000, 0, 0), (1000, 0, 300), (1000, 0, 0), (1000, 0, 300)]),
            (Neutral, [(0, 0, 0); 4]),
        ];
        for (pricing, columns) in cases {
            let kinds = [(false, false), (false, true), (true, false), (true, true)];
            for ((free_leech, token), (uploaded, downloaded, on_token)) in
                kinds.into_iter().zip(columns)
            {
                let once = Credit { uploaded, downloaded, on_token };
                assert_eq!(credit(pricing, false, free_leech, token), once);
                let twice = Credit { uploaded: 2 * uploaded, ..once };
                assert_eq!(credit(pricing, true, free_leech, token), twice);
            }
        }
    }

    #[test]
    fn dearer_price_to_the_tracker_is_the_one_that_counts() {
        use Pricing::{Free, Neutral, Normal};
        for (torrent, everyone, price) in [
            (Normal, Normal, Normal),
            (Normal, Free, Free),
            (Free, Normal, Free),
            (Free, Neutral, Neutral),
            (Neutral, Free, Neutral),
            (Neutral, Normal, Neutral),
        ] {
            assert_eq!(torrent.or(everyone), price);
        }
    }

    #[test]
    fn difference_counts_unless_the_counter_went_back_or_is_absurd() {
        let counted = |uploaded, downloaded, corrupt| Counted { uploaded, downloaded, corrupt };
        let moved = |uploaded, downloaded, corrupt| {
            Measured::Moved(Delta { uploaded, downloaded, corrupt })
        };
        let before = counted(100, 200, Some(10));
        let cases = [
            (counted(100, 200, Some(10)), moved(0, 0, 0)),
            (counted(150, 260, Some(15)), moved(50, 60, 5)),
            (counted(150, 260, Some(5)), moved(50, 60, 0)),
            (counted(150, 260, None), moved(50, 60, 0)),
            (counted(99, 260, Some(10)), moved(0, 60, 0)),
            (counted(150, 199, Some(10)), moved(50, 0, 0)),
            (counted(0, 0, None), moved(0, 0, 0)),
            (counted(100 + 2000, 200, None), moved(2000, 0, 0)),
            (counted(100 + 2001, 200, None), Measured::Absurd),
            (counted(100, 200 + 2001, None), Measured::Absurd),
            (counted(u64::MAX, 200, None), Measured::Absurd),
        ];
        for (now, expected) in cases {
            assert_eq!(measure(before, now, 2, 1000), expected, "{now:?}");
        }
        // Within one second as in one.
        assert_eq!(measure(before, counted(1100, 200, None), 0, 1000), moved(1000, 0, 0));
        assert_eq!(measure(before, counted(1101, 200, None), 0, 1000), Measured::Absurd);
    }

    #[test]
    fn balance_is_up_less_down_less_corrupt_and_bounded() {
        assert_eq!(MOVED.balance(), 693);
        let down = Delta { uploaded: 0, downloaded: u64::MAX, corrupt: u64::MAX };
        assert_eq!(down.balance(), -i64::MAX);
    }
}
