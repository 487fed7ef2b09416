//! A strict reader of bencode, to check what the tracker writes.

/// Whether the whole of `bytes` is one value in canonical form: keys rise, no leading zeros.
pub(crate) fn is_canonical(bytes: &[u8]) -> bool {
    value(bytes) == Some(&[])
}

/// What follows the value at the start of `bytes`.
fn value(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.first()? {
        b'i' => {
            let (_, rest) = decimal(&bytes[1..])?;
            rest.strip_prefix(b"e")
        }
        b'l' => {
            let mut rest = &bytes[1..];
            while *rest.first()? != b'e' {
                rest = value(rest)?;
            }
            Some(&rest[1..])
        }
        b'd' => {
            let mut rest = &bytes[1..];
            let mut last: Option<&[u8]> = None;
            while *rest.first()? != b'e' {
                let (key, after) = string(rest)?;
                if last.is_some_and(|last| last >= key) {
                    return None;
                }
                last = Some(key);
                rest = value(after)?;
            }
            Some(&rest[1..])
        }
        _ => string(bytes).map(|(_, rest)| rest),
    }
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = decimal(bytes)?;
    rest.strip_prefix(b":")?.split_at_checked(length as usize)
}

/// A decimal number without a leading zero.
fn decimal(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = bytes.split_at(length);
    if digits.len() > 1 && digits[0] == b'0' {
        return None;
    }
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}
