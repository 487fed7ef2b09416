//! Finding a byte, eight at a time. The standard library's own search is not open to others.

/// Where `needle` first is in `bytes`.
#[inline]
pub(crate) fn find_byte(bytes: &[u8], needle: u8) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHS: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        // A byte that equals the needle is 0 here. Below the first such byte nothing is borrowed,
        // so the lowest bit set is its own (the bits above it may be wrong).
        let word = u64::from_le_bytes(*word) ^ (ONES * needle as u64);
        let found = word.wrapping_sub(ONES) & !word & HIGHS;
        if found != 0 {
            return Some(index * 8 + (found.trailing_zeros() / 8) as usize);
        }
    }
    let at = rest.iter().position(|&byte| byte == needle)?;
    Some(words.len() * 8 + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_byte_is_found_wherever_it_is_and_whatever_surrounds_it() {
        for length in 0..40 {
            for at in 0..length {
                for (needle, other) in [(b'&', b'\''), (b'&', b'%'), (0, 1), (0xff, 0xfe), (1, 0)] {
                    let mut bytes = [other; 40];
                    bytes[at] = needle;
                    bytes[length - 1] = needle;
                    assert_eq!(find_byte(&bytes[..length], needle), Some(at));
                    assert_eq!(find_byte(&bytes[..at], needle), None);
                }
            }
        }
    }
}
