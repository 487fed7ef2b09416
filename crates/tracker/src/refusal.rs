//! Why a request that could be read is not granted.

/// A reply with a failure reason. One variant, one text, one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The info_hash is not on the allow list, or is on the deny list.
    ///
    /// The text holds the words by which Transmission and rTorrent know that to ask again is of no
    /// use.
    NotListed,
    /// More peers of one address than [`Limits::peers_per_address_max`](crate::Limits).
    AddressFull,
    /// A scrape of all swarms, which the operator has not turned on.
    FullScrape,
    /// More info_hashes in one scrape than [`Rules::scrape_hashes_max`](crate::Rules).
    ///
    /// The text begins with the words by which Transmission knows to ask for fewer at once.
    ScrapeTooLong,
    /// A passkey in the path of a tracker that has no members.
    NoMembers,
    /// A parameter is missing, doubled or wrong; which one is told by the parser.
    Malformed,
}

impl Refusal {
    /// Every variant, in order of its number.
    pub const ALL: [Self; 6] = [
        Self::NotListed,
        Self::AddressFull,
        Self::FullScrape,
        Self::ScrapeTooLong,
        Self::NoMembers,
        Self::Malformed,
    ];
    /// How many variants there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Its place in [`Refusal::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// What the client is told.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotListed => "unregistered torrent: not tracked here (torrent not registered)",
            Self::AddressFull => "too many peers from your address",
            Self::FullScrape => "full scrape is not allowed: name an info_hash",
            Self::ScrapeTooLong => "GET string too long: scrape fewer info_hashes at once",
            Self::NoMembers => "this tracker has no members: announce to /announce",
            Self::Malformed => "malformed request",
        }
    }

    /// The name of its counter, for `/stats.json` and `/metrics`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotListed => "not_listed",
            Self::AddressFull => "address_full",
            Self::FullScrape => "full_scrape",
            Self::ScrapeTooLong => "scrape_too_long",
            Self::NoMembers => "no_members",
            Self::Malformed => "malformed",
        }
    }
}
