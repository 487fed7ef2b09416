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
    /// No passkey in the path, where only members are served.
    NoPasskey,
    /// No member has the passkey.
    PasskeyUnknown,
    /// The torrent is not registered, or no longer; the text may say why.
    Unregistered,
    /// A member's client that does not say `compact=1`.
    NotCompact,
    /// A member's client without a peer_id.
    NoPeerId,
    /// A member's client with a peer_id that is not 20 bytes.
    InvalidPeerId,
    /// The client is not on the allow list, or is on the deny list.
    ClientNotAllowed,
    /// The member may not download.
    LeechForbidden,
    /// A scrape over UDP, which has no place for a passkey.
    MembersScrapeOverHttp,
}

impl Refusal {
    /// Every variant, in order of its number.
    pub const ALL: [Self; 15] = [
        Self::NotListed,
        Self::AddressFull,
        Self::FullScrape,
        Self::ScrapeTooLong,
        Self::NoMembers,
        Self::Malformed,
        Self::NoPasskey,
        Self::PasskeyUnknown,
        Self::Unregistered,
        Self::NotCompact,
        Self::NoPeerId,
        Self::InvalidPeerId,
        Self::ClientNotAllowed,
        Self::LeechForbidden,
        Self::MembersScrapeOverHttp,
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
            // Those of members are Ocelot's, word for word: sites explain them to their users.
            Self::NoPasskey => "Malformed announce",
            Self::PasskeyUnknown => "Passkey not found",
            Self::Unregistered => "Unregistered torrent",
            Self::NotCompact => "Your client does not support compact announces",
            Self::NoPeerId => "No peer ID",
            Self::InvalidPeerId => "Invalid peer ID",
            Self::ClientNotAllowed => "Your client is not on the whitelist",
            Self::LeechForbidden => "Access denied, leeching forbidden.",
            Self::MembersScrapeOverHttp => "scrape over HTTP: here only members may",
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
            Self::NoPasskey => "no_passkey",
            Self::PasskeyUnknown => "passkey_unknown",
            Self::Unregistered => "unregistered",
            Self::NotCompact => "not_compact",
            Self::NoPeerId => "no_peer_id",
            Self::InvalidPeerId => "invalid_peer_id",
            Self::ClientNotAllowed => "client_not_allowed",
            Self::LeechForbidden => "leech_forbidden",
            Self::MembersScrapeOverHttp => "members_scrape_over_http",
        }
    }
}

/// A refusal and what the client is told, where that is more than the refusal's own text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is counted.
    pub refusal: Refusal,
    /// What the client is told.
    pub text: &'static str,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, text: refusal.text() }
    }
}
