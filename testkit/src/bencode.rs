//! Bencode (BEP 3), read strictly: only the canonical form is read at all.

/// A value of BEP 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `i…e`.
    Integer(i64),
    /// Any bytes.
    String(Vec<u8>),
    /// `l…e`.
    List(Vec<Value>),
    /// Keys and values, the keys in rising order.
    Dictionary(Vec<(Vec<u8>, Value)>),
}

impl Value {
    /// Reads a whole value. `None` for anything that is not canonical: unsorted keys, leading
    /// zeros, bytes after the end.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let value = read(&mut rest)?;
        rest.is_empty().then_some(value)
    }

    /// What a dictionary has for `key`.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<&Self> {
        let Self::Dictionary(entries) = self else { return None };
        entries.iter().find(|(name, _)| name == key.as_ref()).map(|(_, value)| value)
    }

    /// An integer that is a count.
    pub fn as_u32(&self) -> Option<u32> {
        let Self::Integer(number) = self else { return None };
        u32::try_from(*number).ok()
    }

    /// A string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        let Self::String(bytes) = self else { return None };
        Some(bytes)
    }
}

fn read(rest: &mut &[u8]) -> Option<Value> {
    match rest.first()? {
        b'i' => {
            let end = rest.iter().position(|&byte| byte == b'e')?;
            let digits = std::str::from_utf8(&rest[1..end]).ok()?;
            let number: i64 = digits.parse().ok()?;
            *rest = &rest[end + 1..];
            (number.to_string() == digits).then_some(Value::Integer(number))
        }
        b'l' => read_until_end(rest, read).map(Value::List),
        b'd' => {
            let entries = read_until_end(rest, |rest| Some((read_string(rest)?, read(rest)?)))?;
            let sorted = entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
            sorted.then_some(Value::Dictionary(entries))
        }
        _ => read_string(rest).map(Value::String),
    }
}

fn read_until_end<T>(rest: &mut &[u8], one: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    *rest = &rest[1..];
    let mut all = Vec::new();
    while *rest.first()? != b'e' {
        all.push(one(rest)?);
    }
    *rest = &rest[1..];
    Some(all)
}

fn read_string(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let colon = rest.iter().position(|&byte| byte == b':')?;
    let digits = std::str::from_utf8(&rest[..colon]).ok()?;
    let length: usize = digits.parse().ok()?;
    let (bytes, after) = rest[colon + 1..].split_at_checked(length)?;
    *rest = after;
    (length.to_string() == digits).then(|| bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form_alone_is_read() {
        let whole = b"d1:ai-3e2:bbl2:xyi7eee";
        let value = Value::parse(whole).expect("canonical");
        assert_eq!(value.get("a"), Some(&Value::Integer(-3)));
        let list = vec![Value::String(b"xy".to_vec()), Value::Integer(7)];
        assert_eq!(value.get("bb"), Some(&Value::List(list)));
        for length in 0..whole.len() {
            assert_eq!(Value::parse(&whole[..length]), None, "{length}");
        }
        for text in
            ["i01e", "i-0e", "i+1e", "ie", "01:a", "d1:bi1e1:ai1ee", "d1:ai1e1:ai1ee", "lee"]
        {
            assert_eq!(Value::parse(text.as_bytes()), None, "{text}");
        }
    }
}
