//! What rows hold, field by field, and how a schema has it: what all tables share of being written.
//!
//! A schema names the columns of its tables with the field that is in each ([`Table::columns`]),
//! and says how wide its columns are ([`Tables`]). The rows are the tracker's own.

use std::net::IpAddr;

use peerage_tracker::private::{
    MemberDelta, PeerKey, PeerRow, PeerVisit, Snatch, Token, TokenUse, TorrentRow,
};

use crate::statement::{Table, Value};
use crate::write::{Part, now_secs};

/// What is in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Member,
    Torrent,
    PeerId,
    Active,
    Announces,
    Uploaded,
    Downloaded,
    Remaining,
    Corrupt,
    UploadSpeed,
    DownloadSpeed,
    TimespentSecs,
    SeedtimeSecs,
    Address,
    Port,
    UserAgent,
    /// When it happened.
    AtSecs,
    /// When its download was completed.
    CompletedAtSecs,
    Seeders,
    Leechers,
    Completed,
    /// Upload less download, to be set.
    Balance,
    /// Upload less download, to be added.
    BalanceDelta,
    /// When it is written.
    NowSecs,
}

/// A field of a row.
pub(crate) enum Held<'a> {
    /// A number of a member, a torrent or a port; 0 or 1.
    Number(u32),
    /// A sum of bytes.
    Bytes(u64),
    /// A sum of bytes less another.
    Difference(i64),
    /// A count or a time, which a schema may have narrower.
    Count(u64),
    /// As [`Held::Count`], where there is one.
    CountOrNone(Option<u64>),
    Id([u8; 20]),
    Address(Option<IpAddr>),
    Agent(&'a str),
}

/// How a schema has its tables.
pub(crate) trait Tables {
    /// Where the rows of a part go; `None` where they are for somebody else to write.
    fn table(&self, part: Part) -> Option<Table>;
    /// A count or a time as wide as its columns are.
    fn count(&self, count: u64) -> Value;
    /// An address as a column of this part takes it.
    fn address(&self, part: Part, address: Option<IpAddr>) -> Value;
    /// Characters of a `User-Agent`.
    fn agent_chars(&self) -> usize;
}

/// A row that is written.
pub(crate) trait Fields {
    /// What it has of a field; `None` for a field that such rows have not.
    fn field(&self, field: Field) -> Option<Held<'_>>;
}

/// The values of a row's columns.
///
/// # Panics
/// Where a table has a column for what its rows have not: a test goes through all.
pub(crate) fn values(
    tables: &(dyn Tables + Sync),
    part: Part,
    table: &Table,
    row: &impl Fields,
) -> Vec<Value> {
    let value = |(name, field): &(&str, Field)| {
        let held = row.field(*field);
        match held.unwrap_or_else(|| panic!("{}.{name} is not in its rows", table.name)) {
            Held::Number(number) => Value::Int(number.into()),
            Held::Bytes(bytes) => Value::size(bytes),
            Held::Difference(bytes) => Value::Int(bytes),
            Held::Count(count) => tables.count(count),
            Held::CountOrNone(count) => count.map_or(Value::Null, |count| tables.count(count)),
            Held::Id(id) => Value::Bytes(id.to_vec()),
            Held::Address(address) => tables.address(part, address),
            Held::Agent(agent) => cut(agent, tables.agent_chars()),
        }
    };
    table.columns.iter().map(value).collect()
}

/// A `User-Agent` as any column takes it: at most `chars` characters, in ASCII.
fn cut(agent: &str, chars: usize) -> Value {
    // As almost all are.
    if agent.len() <= chars && agent.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Value::Text(agent.to_owned());
    }
    let shown = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    Value::Text(agent.chars().take(chars).map(shown).collect())
}

impl Fields for MemberDelta {
    fn field(&self, field: Field) -> Option<Held<'_>> {
        Some(match field {
            Field::Member => Held::Number(self.member.0),
            Field::Uploaded => Held::Bytes(self.uploaded),
            Field::Downloaded => Held::Bytes(self.downloaded),
            _ => return None,
        })
    }
}

impl Fields for TorrentRow {
    fn field(&self, field: Field) -> Option<Held<'_>> {
        Some(match field {
            Field::Torrent => Held::Number(self.torrent.0),
            Field::Seeders => Held::Count(self.seeders.into()),
            Field::Leechers => Held::Count(self.leechers.into()),
            Field::Completed => Held::Count(self.completed.into()),
            Field::Balance => Held::Difference(self.balance),
            Field::BalanceDelta => Held::Difference(self.balance_delta),
            Field::NowSecs => Held::Difference(now_secs()),
            _ => return None,
        })
    }
}

fn key(key: &PeerKey, field: Field) -> Option<Held<'static>> {
    Some(match field {
        Field::Member => Held::Number(key.member.0),
        Field::Torrent => Held::Number(key.torrent.0),
        Field::PeerId => Held::Id(key.peer_id.0),
        _ => return None,
    })
}

impl Fields for PeerRow {
    fn field(&self, field: Field) -> Option<Held<'_>> {
        Some(match field {
            Field::Active => Held::Number(self.active.into()),
            Field::Announces => Held::Count(self.announces.into()),
            Field::Uploaded => Held::Bytes(self.uploaded),
            Field::Downloaded => Held::Bytes(self.downloaded),
            Field::Remaining => Held::Bytes(self.remaining),
            Field::Corrupt => Held::Bytes(self.corrupt),
            Field::UploadSpeed => Held::Count(self.upload_speed),
            Field::DownloadSpeed => Held::Count(self.download_speed),
            Field::TimespentSecs => Held::Count(self.timespent_secs.into()),
            Field::SeedtimeSecs => Held::Count(self.seedtime_secs.into()),
            Field::Address => Held::Address(self.address),
            Field::Port => Held::Number(self.port.into()),
            Field::UserAgent => Held::Agent(&self.user_agent),
            Field::AtSecs => Held::Count(self.at_secs),
            Field::CompletedAtSecs => Held::CountOrNone(self.completed_at_secs),
            _ => return key(&self.key, field),
        })
    }
}

impl Fields for PeerVisit {
    fn field(&self, field: Field) -> Option<Held<'_>> {
        Some(match field {
            Field::Announces => Held::Count(self.announces.into()),
            Field::TimespentSecs => Held::Count(self.timespent_secs.into()),
            Field::SeedtimeSecs => Held::Count(self.seedtime_secs.into()),
            Field::AtSecs => Held::Count(self.at_secs),
            _ => return key(&self.key, field),
        })
    }
}

impl Fields for Snatch {
    fn field(&self, field: Field) -> Option<Held<'_>> {
        Some(match field {
            Field::Member => Held::Number(self.member.0),
            Field::Torrent => Held::Number(self.torrent.0),
            Field::AtSecs => Held::Count(self.at_secs),
            Field::Address => Held::Address(self.address),
            _ => return None,
        })
    }
}

impl Fields for TokenUse {
    fn field(&self, field: Field) -> Option<Held<'_>> {
        match field {
            Field::Downloaded => Some(Held::Bytes(self.downloaded)),
            _ => self.token.field(field),
        }
    }
}

impl Fields for Token {
    // It is copied out: a token has nothing to be borrowed.
    fn field(&self, field: Field) -> Option<Held<'static>> {
        Some(match field {
            Field::Member => Held::Number(self.member.0),
            Field::Torrent => Held::Number(self.torrent.0),
            _ => return None,
        })
    }
}
