//! What the path of a request asks for: an announce or a scrape, of a member or of anyone.
//!
//! The same over HTTP and in the URL data of a UDP announce (BEP 41). A member's passkey is the
//! first segment of the path.

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/announce`.
    Announce,
    /// `/scrape`.
    Scrape,
    /// `/{passkey}/announce`, with what stands in the place of the passkey: at least a byte.
    MemberAnnounce(&'a [u8]),
    /// `/{passkey}/scrape`, likewise.
    MemberScrape(&'a [u8]),
}

impl<'a> Route<'a> {
    /// Reads a path without its query. `None` for every other path.
    pub fn of(path: &'a [u8]) -> Option<Self> {
        match path {
            b"/announce" => return Some(Self::Announce),
            b"/scrape" => return Some(Self::Scrape),
            _ => {}
        }
        let (passkey, rest) = match path {
            [b'/', passkey @ .., b'/', b'a', b'n', b'n', b'o', b'u', b'n', b'c', b'e'] => {
                (passkey, Self::MemberAnnounce as fn(&'a [u8]) -> Self)
            }
            [b'/', passkey @ .., b'/', b's', b'c', b'r', b'a', b'p', b'e'] => {
                (passkey, Self::MemberScrape as fn(&'a [u8]) -> Self)
            }
            _ => return None,
        };
        let is_segment = !passkey.is_empty() && !passkey.contains(&b'/');
        is_segment.then(|| rest(passkey))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        let cases: [(&str, Option<Route<'_>>); 16] = [
            ("/announce", Some(Route::Announce)),
            ("/scrape", Some(Route::Scrape)),
            ("/k/announce", Some(Route::MemberAnnounce(b"k"))),
            ("/0123/scrape", Some(Route::MemberScrape(b"0123"))),
            ("/announce/announce", Some(Route::MemberAnnounce(b"announce"))),
            ("", None),
            ("/", None),
            ("announce", None),
            ("//announce", None),
            ("/announce/", None),
            ("/a/b/announce", None),
            ("/a//scrape", None),
            ("/k/announce.php", None),
            ("/k/Announce", None),
            ("/kannounce", None),
            ("/k/scrape/", None),
        ];
        for (path, expected) in cases {
            assert_eq!(Route::of(path.as_bytes()), expected, "{path}");
        }
    }
}
