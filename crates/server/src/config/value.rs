//! The types a setting can have: how each is read from the file, from the environment or from a
//! flag, how it is written, and what is said to the operator when it is wrong.
//!
//! The range of a number is part of its type, so the check, the error and the manual agree.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use peerage_tracker::Prefix;
use toml::de::DeValue;

/// A value as found.
pub(crate) enum Raw<'a> {
    /// In the environment or a flag.
    Text(&'a str),
    /// In the file, with its TOML type.
    Toml(&'a DeValue<'a>),
}

/// A type that a setting can have.
pub(crate) trait Value: Sized + PartialEq {
    /// What is right, to follow "must be": `a whole number from 1 to 9`.
    fn right() -> String;
    /// Reads a value; `None` for one that is wrong.
    fn read(raw: &Raw<'_>) -> Option<Self>;
    /// The value in TOML; `None` for a secret, which is not shown.
    fn write(&self) -> Option<String>;
    /// What there is to know about the values for who lets one be entered.
    fn shape() -> Shape;
}

/// What the values of a setting are like, see [`Value::shape`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    /// What they are.
    pub(crate) kind: Kind,
    /// The least, in the unit of the kind, where there is one.
    pub(crate) min: Option<f64>,
    /// The most, likewise.
    pub(crate) max: Option<f64>,
    /// The words that are right, besides what the kind says; alone for a text, if there are any.
    pub(crate) choices: Vec<&'static str>,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Seconds, or a text such as `30m`.
    Duration,
    /// Bytes, or a text such as `8MiB`.
    Bytes,
    /// A number.
    Number,
    /// True or false.
    Bool,
    /// A text.
    Text,
    /// The path of a file. Never the API's to change: it would make us open what it names.
    Path,
    /// The paths of files, and no more the API's to change.
    Paths,
    /// A text that is not shown.
    Secret,
    /// Texts.
    List,
}

impl Shape {
    /// Values without bounds that can be told.
    pub(crate) const fn of(kind: Kind) -> Self {
        Self { kind, min: None, max: None, choices: Vec::new() }
    }

    fn within(kind: Kind, min: f64, max: f64) -> Self {
        Self { min: Some(min), max: Some(max), ..Self::of(kind) }
    }
}

/// The seconds or bytes that a text of `kind` such as `30m` means.
pub(crate) fn amount(kind: Kind, text: &str) -> Option<u64> {
    match kind {
        Kind::Duration => read_units(&Raw::Text(text), TIME),
        Kind::Bytes => read_units(&Raw::Text(text), SIZE),
        _ => None,
    }
}

impl Raw<'_> {
    /// The text of a flag, of the environment or of a TOML string.
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Toml(value) => value.as_str(),
        }
    }

    /// A whole number, as text or as a TOML integer.
    fn integer<T: TryFrom<i128>>(&self) -> Option<T> {
        let integer = match self {
            Self::Text(text) => text.parse().ok()?,
            Self::Toml(value) => {
                let integer = value.as_integer()?;
                i128::from_str_radix(integer.as_str(), integer.radix()).ok()?
            }
        };
        T::try_from(integer).ok()
    }
}

/// `text` as a TOML string.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A whole number within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole<const MIN: i64, const MAX: i64>(pub(crate) i64);

impl<const MIN: i64, const MAX: i64> Whole<MIN, MAX> {
    /// The number in a type that holds all of `MIN..=MAX`.
    pub(crate) fn to<T: TryFrom<i64>>(self) -> T {
        T::try_from(self.0).ok().expect("the caller's type holds the whole range")
    }
}

impl<const MIN: i64, const MAX: i64> Value for Whole<MIN, MAX> {
    fn right() -> String {
        match MAX {
            i64::MAX => format!("a whole number of at least {MIN}"),
            _ => format!("a whole number from {MIN} to {MAX}"),
        }
    }

    fn read(raw: &Raw<'_>) -> Option<Self> {
        raw.integer().filter(|number| (MIN..=MAX).contains(number)).map(Self)
    }

    fn write(&self) -> Option<String> {
        Some(self.0.to_string())
    }

    fn shape() -> Shape {
        let max = (MAX != i64::MAX).then_some(MAX as f64);
        Shape { min: Some(MIN as f64), max, ..Shape::of(Kind::Number) }
    }
}

impl Value for bool {
    fn right() -> String {
        "true or false".into()
    }

    fn read(raw: &Raw<'_>) -> Option<Self> {
        match raw {
            Raw::Text(text) => text.parse().ok(),
            Raw::Toml(value) => value.as_bool(),
        }
    }

    fn write(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn shape() -> Shape {
        Shape::of(Kind::Bool)
    }
}

/// A load average: finite, not negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Load(pub(crate) f64);

impl Value for Load {
    fn right() -> String {
        "a number above 0 such as 1.5".into()
    }

    fn read(raw: &Raw<'_>) -> Option<Self> {
        let load = match raw {
            Raw::Toml(value) if value.is_float() => value.as_float()?.as_str().parse().ok()?,
            Raw::Toml(_) => raw.integer::<i32>()?.into(),
            Raw::Text(text) => text.parse::<f64>().ok()?,
        };
        (load.is_finite() && load > 0.0).then_some(Self(load))
    }

    fn write(&self) -> Option<String> {
        Some(format!("{:?}", self.0))
    }

    fn shape() -> Shape {
        Shape { min: Some(0.0), ..Shape::of(Kind::Number) }
    }
}

/// A number with a unit, smallest unit first; each unit's size in the smallest.
type Units = &'static [(&'static str, u64)];

const TIME: Units = &[("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
const SIZE: Units = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Reads a bare number of the smallest unit, or parts with units such as `1h30m`.
fn read_units(raw: &Raw<'_>, units: Units) -> Option<u64> {
    if let Some(bare) = raw.integer() {
        return Some(bare);
    }
    let mut rest = raw.text()?;
    let mut sum = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (_, unit) = units.iter().find(|(name, _)| *name == &rest[..end])?;
        rest = &rest[end..];
        sum = sum.checked_add(number.checked_mul(*unit)?)?;
    }
    raw.text().filter(|text| !text.is_empty()).map(|_| sum)
}

/// Writes `number` in the largest unit that divides it.
fn write_units(number: u64, units: Units) -> String {
    let fitting = units.iter().rev().find(|(_, unit)| number != 0 && number.is_multiple_of(*unit));
    let (name, unit) = fitting.unwrap_or(&units[0]);
    format!("{}{name}", number / unit)
}

/// A duration in whole seconds within bounds: `"30m"`, `"1h30m"` or a bare number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seconds<const MIN: u64, const MAX: u64>(pub(crate) u64);

impl<const MIN: u64, const MAX: u64> Value for Seconds<MIN, MAX> {
    fn right() -> String {
        let (min, max) = (write_units(MIN, TIME), write_units(MAX, TIME));
        format!("a duration such as \"90s\", \"30m\" or a number of seconds, from {min} to {max}")
    }

    fn read(raw: &Raw<'_>) -> Option<Self> {
        read_units(raw, TIME).filter(|secs| (MIN..=MAX).contains(secs)).map(Self)
    }

    fn write(&self) -> Option<String> {
        Some(quoted(&write_units(self.0, TIME)))
    }

    fn shape() -> Shape {
        Shape::within(Kind::Duration, MIN as f64, MAX as f64)
    }
}

/// A size in bytes within bounds: `"8MiB"` or a bare number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes<const MIN: u64, const MAX: u64>(pub(crate) u64);

impl<const MIN: u64, const MAX: u64> Value for Bytes<MIN, MAX> {
    fn right() -> String {
        let (min, max) = (write_units(MIN, SIZE), write_units(MAX, SIZE));
        format!("a size such as \"64KiB\", \"8MiB\" or a number of bytes, from {min} to {max}")
    }

    fn read(raw: &Raw<'_>) -> Option<Self> {
        read_units(raw, SIZE).filter(|bytes| (MIN..=MAX).contains(bytes)).map(Self)
    }

    fn write(&self) -> Option<String> {
        Some(quoted(&write_units(self.0, SIZE)))
    }

    fn shape() -> Shape {
        Shape::within(Kind::Bytes, MIN as f64, MAX as f64)
    }
}

/// A value that is worked out from the machine or from other settings where it is `"auto"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Auto<T> {
    /// Worked out; how, the setting's own doc says.
    Auto,
    /// As the operator says.
    Is(T),
}

impl<T> Auto<T> {
    /// The operator's value, if there is one.
    pub(crate) fn given(self) -> Option<T> {
        match self {
            Self::Auto => None,
            Self::Is(value) => Some(value),
        }
    }
}

impl<T: Value> Value for Auto<T> {
    fn right() -> String {
        format!("{}, or \"auto\"", T::right())
    }

    fn read(raw: &Raw<'_>) -> Option<Self> {
        match raw.text() {
            Some("auto") => Some(Self::Auto),
            _ => T::read(raw).map(Self::Is),
        }
    }

    fn write(&self) -> Option<String> {
        match self {
            Self::Auto => Some(quoted("auto")),
            Self::Is(value) => value.write(),
        }
    }

    fn shape() -> Shape {
        let mut shape = T::shape();
        shape.choices.push("auto");
        shape
    }
}

/// A text that may be anything on one line; empty for none.
impl Value for String {
    fn right() -> String {
        "a text on one line".into()
    }

    fn read(raw: &Raw<'_>) -> Option<Self> {
        raw.text().filter(|text| !text.contains(char::is_control)).map(Self::from)
    }

    fn write(&self) -> Option<String> {
        Some(quoted(self))
    }

    fn shape() -> Shape {
        Shape::of(Kind::Text)
    }
}

/// A path; empty for none.
impl Value for Option<PathBuf> {
    fn right() -> String {
        "a path, or \"\" for none".into()
    }

    fn read(raw: &Raw<'_>) -> Option<Self> {
        raw.text().map(|text| (!text.is_empty()).then(|| text.into()))
    }

    fn write(&self) -> Option<String> {
        Some(quoted(&self.as_ref().map(|path| path.to_string_lossy()).unwrap_or_default()))
    }

    fn shape() -> Shape {
        Shape::of(Kind::Path)
    }
}

/// A path.
impl Value for PathBuf {
    fn right() -> String {
        "a path".into()
    }

    fn read(raw: &Raw<'_>) -> Option<Self> {
        raw.text().filter(|text| !text.is_empty()).map(Self::from)
    }

    fn write(&self) -> Option<String> {
        Some(quoted(&self.to_string_lossy()))
    }

    fn shape() -> Shape {
        Shape::of(Kind::Path)
    }
}

/// Values in a list: an array in the file, separated by commas elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Many<T>(pub(crate) Vec<T>);

impl<T: Value> Value for Many<T> {
    fn right() -> String {
        format!("a list, each {}", T::right())
    }

    fn read(raw: &Raw<'_>) -> Option<Self> {
        let values = match raw {
            Raw::Toml(value) => {
                value.as_array()?.iter().map(|item| T::read(&Raw::Toml(item.get_ref()))).collect()
            }
            Raw::Text("") => Some(Vec::new()),
            Raw::Text(text) => text.split(',').map(|item| T::read(&Raw::Text(item))).collect(),
        };
        values.map(Self)
    }

    fn write(&self) -> Option<String> {
        let values: Option<Vec<String>> = self.0.iter().map(T::write).collect();
        Some(format!("[{}]", values?.join(", ")))
    }

    fn shape() -> Shape {
        Shape::of(match T::shape().kind {
            Kind::Path => Kind::Paths,
            _ => Kind::List,
        })
    }
}

/// An address to listen on, with a port of its own where it differs from `listen.port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BindAddress {
    /// The address; unspecified for all of its family.
    pub(crate) ip: IpAddr,
    /// `None` for `listen.port`.
    pub(crate) port: Option<u16>,
}

impl Value for BindAddress {
    fn right() -> String {
        "an address such as \"0.0.0.0\", \"::\", \"192.0.2.1:80\" or \"[2001:db8::1]:80\"".into()
    }

    fn read(raw: &Raw<'_>) -> Option<Self> {
        let text = raw.text()?;
        let with_port = || SocketAddr::from_str(text).ok().map(|a| (a.ip(), Some(a.port())));
        let (ip, port) = IpAddr::from_str(text).ok().map(|ip| (ip, None)).or_else(with_port)?;
        Some(Self { ip, port })
    }

    fn write(&self) -> Option<String> {
        Some(quoted(&match self.port {
            Some(port) => SocketAddr::new(self.ip, port).to_string(),
            None => self.ip.to_string(),
        }))
    }

    fn shape() -> Shape {
        Shape::of(Kind::Text)
    }
}

/// An address or a range of addresses.
impl Value for Prefix {
    fn right() -> String {
        "an address or a range such as \"192.0.2.1\", \"10.0.0.0/8\" or \"2001:db8::/32\"".into()
    }

    fn read(raw: &Raw<'_>) -> Option<Self> {
        raw.text()?.parse().ok()
    }

    fn write(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }

    fn shape() -> Shape {
        Shape::of(Kind::Text)
    }
}

/// 16 secret bytes, or none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) Option<[u8; 16]>);

impl Secret {
    /// Reads 32 hex digits.
    pub(crate) fn from_hex(hex: &str) -> Option<[u8; 16]> {
        let digits = hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then(|| u128::from_str_radix(hex, 16).ok()).flatten().map(u128::to_be_bytes)
    }
}

impl Value for Secret {
    fn right() -> String {
        "32 hex digits, or \"\" for none".into()
    }

    fn read(raw: &Raw<'_>) -> Option<Self> {
        match raw.text()? {
            "" => Some(Self(None)),
            hex => Self::from_hex(hex).map(|bytes| Self(Some(bytes))),
        }
    }

    fn write(&self) -> Option<String> {
        self.0.is_none().then(|| quoted(""))
    }

    fn shape() -> Shape {
        Shape::of(Kind::Secret)
    }
}

/// 32 secret bytes as they stand in a path, or none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Password(pub(crate) Option<[u8; 32]>);

impl Value for Password {
    fn right() -> String {
        "32 letters and digits, or \"\" for none".into()
    }

    fn read(raw: &Raw<'_>) -> Option<Self> {
        let bytes = raw.text()?.as_bytes();
        if bytes.is_empty() {
            return Some(Self(None));
        }
        let fine = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte));
        bytes.try_into().ok().filter(|_| fine).map(|bytes| Self(Some(bytes)))
    }

    fn write(&self) -> Option<String> {
        self.0.is_none().then(|| quoted(""))
    }

    fn shape() -> Shape {
        Shape::of(Kind::Secret)
    }
}

/// A URL that may hold a password, so that it is not shown; empty for none.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretUrl(pub(crate) String);

impl Value for SecretUrl {
    fn right() -> String {
        "a URL such as \"sqlite:///var/lib/peerage/peerage.sqlite\", \
         \"mysql://user:password@host/name\" or \"postgres://user:password@host/name\", or \"\" \
         for none"
            .into()
    }

    fn read(raw: &Raw<'_>) -> Option<Self> {
        let text = raw.text()?;
        let schemes = ["sqlite:", "mysql://", "mariadb://", "postgres://", "postgresql://"];
        let fine = text.is_empty() || schemes.iter().any(|scheme| text.starts_with(scheme));
        (fine && !text.contains(char::is_control)).then(|| Self(text.into()))
    }

    fn write(&self) -> Option<String> {
        self.0.is_empty().then(|| quoted(""))
    }

    fn shape() -> Shape {
        Shape::of(Kind::Secret)
    }
}

/// Where Redis is; it may hold a password, so that it is not shown. Empty for nowhere.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RedisUrl(pub(crate) String);

impl Value for RedisUrl {
    fn right() -> String {
        "a URL such as \"redis://user:password@host:6379/0\", \"rediss://host\" or \
         \"redis+sentinel://host,host/name\", or \"\" for none"
            .into()
    }

    fn read(raw: &Raw<'_>) -> Option<Self> {
        let text = raw.text()?;
        let fine = text.is_empty() || peerage_shared::Target::parse(text).is_ok();
        fine.then(|| Self(text.into()))
    }

    fn write(&self) -> Option<String> {
        self.0.is_empty().then(|| quoted(""))
    }

    fn shape() -> Shape {
        Shape::of(Kind::Secret)
    }
}

/// Declares a setting that is one of a few words.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$doc])* $variant,)+ }

        impl $crate::config::value::Value for $name {
            fn right() -> String {
                format!("one of {}", [$(concat!('"', $word, '"')),+].join(", "))
            }

            fn read(raw: &$crate::config::value::Raw<'_>) -> Option<Self> {
                match raw.text()? { $($word => Some(Self::$variant),)+ _ => None }
            }

            fn write(&self) -> Option<String> {
                Some($crate::config::value::quoted(match self { $(Self::$variant => $word,)+ }))
            }

            fn shape() -> $crate::config::value::Shape {
                let choices = vec![$($word),+];
                let text = $crate::config::value::Shape::of($crate::config::value::Kind::Text);
                $crate::config::value::Shape { choices, ..text }
            }
        }
    };
}

choice! {
    /// The keys of shared mode.
    SharedLayout {
        /// Ours.
        Own = "own",
        /// llmpt's.
        Llmpt = "llmpt",
    }
}

choice! {
    /// The least important lines that are logged.
    LogLevel {
        /// What needs the operator now.
        Error = "error",
        /// What the operator should look at.
        Warn = "warn",
        /// What happens a few times a day.
        Info = "info",
        /// More, for finding faults.
        Debug = "debug",
        /// All there is.
        Trace = "trace",
    }
}

choice! {
    /// How a log line looks.
    LogFormat {
        /// Time, level, text.
        Time = "time",
        /// Level, text: for a journal that keeps the time itself.
        Plain = "plain",
    }
}

choice! {
    /// Whose tables the database has.
    Schema {
        /// Gazelle's, where `[gazelle]` has a password; ours elsewhere.
        Auto = "auto",
        /// Those that `peerage` makes and keeps itself.
        Peerage = "peerage",
        /// A site's, of either generation.
        Gazelle = "gazelle",
    }
}

choice! {
    /// What a transfer costs.
    PricingWord {
        /// Upload and download both count.
        Normal = "normal",
        /// Upload alone counts.
        Free = "free",
        /// Neither counts.
        Neutral = "neutral",
    }
}

choice! {
    /// How reports are written.
    ReportStyle {
        /// As Ocelot 2 does.
        Json = "json",
        /// As Ocelot 1.0 does.
        Text = "text",
    }
}

choice! {
    /// What it means that a site leaves out a parameter.
    Absent {
        /// That nothing changes.
        Keep = "keep",
        /// What it means to Ocelot.
        Ocelot = "ocelot",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: Value + std::fmt::Debug>(text: &str, value: Option<&T>) {
        assert_eq!(T::read(&Raw::Text(text)).as_ref(), value, "{text:?}");
    }

    #[test]
    fn durations_have_units_or_are_seconds() {
        type Time = Seconds<1, 86_400>;
        for (text, secs) in [("30m", 1800), ("1h30m", 5400), ("239", 239), ("90s", 90)] {
            check(text, Some(&Seconds::<1, 86_400>(secs)));
        }
        for text in ["", "m", "30x", "0", "2d", "-1", "1.5h", "99999999999999999999s", "3 m"] {
            check::<Time>(text, None);
        }
    }

    #[test]
    fn sizes_have_units_or_are_bytes() {
        for (text, bytes) in [("8MiB", 8 << 20), ("512", 512), ("1KiB512B", 1536)] {
            check(text, Some(&Bytes::<0, { 1 << 30 }>(bytes)));
        }
        check::<Bytes<0, 1024>>("2KiB", None);
        check::<Bytes<0, 1024>>("1MB", None);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for secs in [0, 1, 59, 60, 1799, 3600, 86_400] {
            let written = Seconds::<0, 86_400>(secs).write().unwrap();
            check(written.trim_matches('"'), Some(&Seconds::<0, 86_400>(secs)));
        }
        for text in ["10.0.0.0/8", "::/0", "2001:db8::/32", "192.0.2.1/32", "0.0.0.0/0"] {
            let prefix = Prefix::read(&Raw::Text(text)).unwrap();
            assert_eq!(prefix.write(), Some(quoted(text)));
        }
    }

    #[test]
    fn quoted_text_is_toml() {
        for text in ["", "plain", "a\"b\\c", "tab\tnul\0", "ü"] {
            let line = format!("key = {}", quoted(text));
            let table = toml::de::DeTable::parse(&line).unwrap();
            assert_eq!(table.get_ref()["key"].get_ref().as_str(), Some(text));
        }
    }

    #[test]
    fn secret_is_read_but_not_written() {
        let secret = Secret::read(&Raw::Text("000102030405060708090a0b0c0d0e0f")).unwrap();
        assert_eq!(secret.0.unwrap()[15], 15);
        assert_eq!(secret.write(), None);
        assert!(Secret::read(&Raw::Text("0001")).is_none());
        assert!(Secret::read(&Raw::Text("+00102030405060708090a0b0c0d0e0f")).is_none());
    }
}
