//! The info_hash and the name in a `.torrent` file (BEP 3, BEP 52).
//!
//! Reads no more than that: the bytes of the info dictionary, and in it `name`, `pieces` and
//! `meta version`.

use sha1::Digest as _;

/// Most bytes of a file: a torrent of some terabytes in small pieces.
pub(crate) const FILE_BYTES_MAX: u64 = 64 << 20;

/// How deep values may lie in each other: a file tree (BEP 52) of that many folders.
const DEPTH_MAX: u32 = 256;

/// What a tracker wants to know of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Metainfo {
    /// The v1 info_hash; of a torrent that is v2 alone the first 20 bytes of its own.
    pub(crate) info_hash: [u8; 20],
    /// As the file says it, cut where it is too long, without what is no text.
    pub(crate) name: String,
}

/// Reads a file. `None` where it is no torrent.
pub(crate) fn read(file: &[u8]) -> Option<Metainfo> {
    let info = entry(file, b"info")?;
    let is_v1 = entry(info, b"pieces").is_some();
    if !is_v1 && entry(info, b"meta version") != Some(b"i2e") {
        return None;
    }
    let info_hash = if is_v1 {
        sha1::Sha1::digest(info).into()
    } else {
        let hash: [u8; 32] = sha2::Sha256::digest(info).into();
        *hash.first_chunk().expect("20 is less than 32")
    };
    let name = entry(info, b"name").and_then(text).map_or_else(String::new, |(name, _)| {
        String::from_utf8_lossy(name).chars().filter(|c| !c.is_control()).take(47).collect()
    });
    Some(Metainfo { info_hash, name })
}

/// The bytes of the value of `key` in a dictionary with which `bencoded` begins.
fn entry<'a>(bencoded: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut rest = bencoded.strip_prefix(b"d")?;
    while !rest.starts_with(b"e") {
        let (name, after) = text(rest)?;
        let end = skip(after, 0)?;
        if name == key {
            return Some(&after[..after.len() - end.len()]);
        }
        rest = end;
    }
    None
}

/// A byte string, and what comes after it.
fn text(bencoded: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = bencoded.iter().take(9).take_while(|byte| byte.is_ascii_digit()).count();
    let (length, rest) = bencoded.split_at(digits);
    let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
    rest.strip_prefix(b":")?.split_at_checked(length)
}

/// What comes after the value with which `bencoded` begins.
fn skip(bencoded: &[u8], depth: u32) -> Option<&[u8]> {
    match bencoded.first()? {
        b'i' => {
            let end = bencoded.iter().take(24).position(|&byte| byte == b'e')?;
            Some(&bencoded[end + 1..])
        }
        b'l' | b'd' if depth < DEPTH_MAX => {
            let mut rest = &bencoded[1..];
            while !rest.starts_with(b"e") {
                rest = skip(rest, depth + 1)?;
            }
            Some(&rest[1..])
        }
        b'0'..=b'9' => text(bencoded).map(|(_, rest)| rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &[u8] = b"d8:announce3:abc4:infod6:lengthi3e4:name5:a\nfil12:piece lengthi16384e\
                        6:pieces20:aaaaaaaaaaaaaaaaaaaaee";

    #[test]
    fn info_hash_is_that_of_the_info_dictionary() {
        let found = read(V1).expect("it is a torrent");
        let start = V1.windows(6).position(|six| six == b"4:info").expect("there is one") + 6;
        let expected: [u8; 20] = sha1::Sha1::digest(&V1[start..V1.len() - 1]).into();
        assert_eq!(found, Metainfo { info_hash: expected, name: "afil".into() });
    }

    #[test]
    fn v2_alone_has_the_first_bytes_of_its_own_hash() {
        let file = b"d4:infod9:file treede12:meta versioni2e4:name1:xee";
        let found = read(file).expect("it is a torrent");
        let hash: [u8; 32] = sha2::Sha256::digest(&file[7..file.len() - 1]).into();
        assert_eq!(found.info_hash, hash[..20]);
    }

    #[test]
    fn what_is_cut_short_or_no_torrent_is_refused() {
        for length in 0..V1.len() - 1 {
            assert_eq!(read(&V1[..length]), None, "{length}");
        }
        let deep = [b"d1:a".as_slice(), &b"l".repeat(100_000)].concat();
        for wrong in [b"".as_slice(), b"de", b"d4:infode", b"d4:info3:abce", b"d9999999999:", &deep]
        {
            assert_eq!(read(wrong), None);
        }
    }
}
