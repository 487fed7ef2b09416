//! Names of clients by what their peer_ids begin with.
//!
//! From BEP 20, from the list of the BitTorrentSpecification wiki (theory.org), and from what the
//! clients' own sources put there. Only what is met in the wild today or was once common.

/// How a client writes its version into four characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Three numbers of a character each, and a fourth where it is not 0: `20B0` is 2.0.11.
    Dotted,
    /// Two numbers of two characters each: `0199` is 1.99.
    Pairs,
    /// As [`Version::Dotted`] from 4 on: `4060` is 4.0.6. Before, the second number has two
    /// characters: `2940` is 2.94.
    Transmission,
    /// In a way not known here.
    Unknown,
}

use Version::{Dotted, Pairs, Transmission, Unknown};

/// By the two characters between a `-` and a version of four (BEP 20, Azureus style).
pub(super) const AZUREUS: &[(&[u8; 2], &str, Version)] = &[
    (b"AG", "Ares", Unknown),
    (b"AR", "Arctic", Unknown),
    (b"AT", "Artemis", Unknown),
    (b"AZ", "Vuze", Dotted),
    (b"BC", "BitComet", Pairs),
    (b"BE", "BitTorrent SDK", Unknown),
    (b"BF", "Bitflu", Unknown),
    (b"BI", "BiglyBT", Dotted),
    (b"BP", "BitTorrent Pro", Unknown),
    (b"BR", "BitRocket", Unknown),
    (b"BT", "BitTorrent", Dotted),
    (b"BW", "BitTorrent Web", Dotted),
    (b"CD", "Enhanced CTorrent", Unknown),
    (b"CT", "CTorrent", Unknown),
    (b"DE", "Deluge", Dotted),
    (b"EB", "EBit", Unknown),
    (b"FD", "Free Download Manager", Dotted),
    (b"FL", "Folx", Unknown),
    (b"FW", "FrostWire", Dotted),
    (b"FX", "Freebox", Unknown),
    (b"GT", "anacrolix/torrent", Unknown),
    (b"HL", "Halite", Dotted),
    (b"IL", "iLivid", Unknown),
    (b"KG", "KGet", Dotted),
    (b"KT", "KTorrent", Dotted),
    (b"LC", "LeechCraft", Unknown),
    (b"LP", "Lphant", Unknown),
    (b"LT", "libtorrent", Dotted),
    (b"LW", "LimeWire", Unknown),
    (b"MO", "MonoTorrent", Unknown),
    (b"MR", "Miro", Unknown),
    (b"NX", "Net Transport", Unknown),
    (b"OS", "OneSwarm", Unknown),
    (b"PD", "Pando", Unknown),
    (b"PI", "PicoTorrent", Dotted),
    (b"QD", "QQDownload", Unknown),
    (b"SD", "Thunder", Unknown),
    (b"SM", "SoMud", Unknown),
    (b"SZ", "Shareaza", Dotted),
    (b"TL", "Tribler", Dotted),
    (b"TN", "TorrentDotNET", Unknown),
    (b"TR", "Transmission", Transmission),
    (b"TT", "TuoTu", Unknown),
    (b"UM", "µTorrent for Mac", Dotted),
    (b"UT", "µTorrent", Dotted),
    (b"UW", "µTorrent Web", Dotted),
    (b"VG", "Vagaa", Unknown),
    (b"WD", "WebTorrent Desktop", Pairs),
    (b"WW", "WebTorrent", Pairs),
    (b"XF", "Xfplay", Unknown),
    (b"XL", "Thunder", Unknown),
    (b"lt", "rTorrent (libtorrent)", Dotted),
    (b"qB", "qBittorrent", Dotted),
    (b"rT", "rTorrent", Unknown),
    (b"st", "SharkTorrent", Unknown),
];

/// By a first character with a version of up to five and hyphens after it (Shadow's style).
pub(super) const SHADOW: &[(u8, &str)] = &[
    (b'A', "ABC"),
    (b'O', "Osprey Permaseed"),
    (b'Q', "BTQueue"),
    (b'R', "Tribler"),
    (b'S', "Shadow's client"),
    (b'T', "BitTornado"),
    (b'U', "UPnP NAT"),
];
