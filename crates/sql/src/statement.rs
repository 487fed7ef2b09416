//! Statements that write many rows at once, as each dialect says them.
//!
//! Numbers and bytes are written into the statement as literals, in decimal and in hex, so that
//! the server needs to be told no types and the length is known before it is sent. Text is written
//! in where it means itself in every dialect and mode, and else bound: a statement without texts
//! takes one round trip, and no parameters to be told of.

use std::fmt::Write as _;

use crate::Dialect;
use crate::fields::Field;

/// A statement with the texts that are bound in it, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) texts: Vec<String>,
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
    Null,
}

/// How rows get into a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// A row that is there is changed, one that is not is made.
    Upsert,
    /// A row that is there is changed. One that is not has been removed, and stays so.
    Update,
}

/// What a column of a row that is there becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    /// The value that comes.
    New,
    /// The value that comes, a time. A row that comes with an earlier one than is there changes
    /// nothing: several trackers may write, each in its own time. The last of the columns.
    Latest,
    /// The sum of both.
    Add,
    /// The value that comes, but for NULL: then what is there stays.
    Fill,
    /// The text that comes, but for an empty one: then what is there stays.
    FillText,
    /// What this says: in [`How::Update`] `d` is what comes and `t` what is there.
    To(&'static str),
}

/// A table as it is written to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// The columns of a row that comes, and what is in them.
    pub(crate) columns: &'static [(&'static str, Field)],
    /// Columns of a row that is made, and what they are made of.
    pub(crate) made: &'static [(&'static str, &'static str)],
    /// Of the columns, those by which a row that is there is known.
    pub(crate) keys: &'static [&'static str],
    pub(crate) how: How,
    pub(crate) sets: &'static [(&'static str, Set)],
}

impl Value {
    /// A count that a signed 64-bit column holds; the largest that it does.
    pub(crate) fn size(size: u64) -> Self {
        Self::Int(i64::try_from(size).unwrap_or(i64::MAX))
    }

    /// A count that a signed 32-bit column holds; the largest that it does.
    pub(crate) fn small(size: impl Into<u64>) -> Self {
        Self::Int(i64::try_from(size.into()).unwrap_or(i64::MAX).min(i64::from(i32::MAX)))
    }

    /// For people: never bound, never sent.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Int(number) => number.to_string(),
            Self::Bytes(bytes) => hex(bytes),
            Self::Text(text) => text.clone(),
            Self::Null => String::new(),
        }
    }
}

/// Bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    push_hex(&mut text, bytes);
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// Whether a text means itself between quotes, in every dialect and mode.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b' ' | b'.' | b',' | b':' | b'/' | b'(' | b')' | b'-' | b'_' | b'+')
    })
}

impl From<&str> for Statement {
    fn from(sql: &str) -> Self {
        Self { sql: sql.to_owned(), texts: Vec::new() }
    }
}

impl From<String> for Statement {
    fn from(sql: String) -> Self {
        Self { sql, texts: Vec::new() }
    }
}

impl Statement {
    /// Bytes of it on their way, at most.
    pub(crate) fn bytes(&self) -> usize {
        // Nine bytes of length and type go before each text.
        self.sql.len() + self.texts.iter().map(|text| text.len() + 9).sum::<usize>()
    }

    /// Adds SQL that is ours.
    pub(crate) fn push(&mut self, sql: &str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// Adds a value.
    pub(crate) fn push_value(&mut self, dialect: Dialect, value: Value) -> &mut Self {
        match (value, dialect) {
            (Value::Int(number), _) => write!(self.sql, "{number}").expect("a string takes all"),
            (Value::Bytes(bytes), dialect) => {
                let (open, close) = match dialect {
                    Dialect::Postgres => ("'\\x", "'::bytea"),
                    Dialect::MySql | Dialect::Sqlite => ("x'", "'"),
                };
                self.push(open);
                push_hex(&mut self.sql, &bytes);
                self.push(close);
            }
            (Value::Null, _) => drop(self.push("NULL")),
            (Value::Text(text), _) if is_plain(&text) => drop(self.push("'").push(&text).push("'")),
            (Value::Text(text), dialect) => {
                self.texts.push(text);
                match dialect {
                    Dialect::Postgres => {
                        let number = self.texts.len();
                        write!(self.sql, "${number}").expect("a string takes all");
                    }
                    Dialect::MySql | Dialect::Sqlite => drop(self.push("?")),
                }
            }
        }
        self
    }

    /// Adds values with commas between them.
    fn push_values(&mut self, dialect: Dialect, values: Vec<Value>) {
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.push(",");
            }
            self.push_value(dialect, value);
        }
    }
}

impl Table {
    /// The names of its columns.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.columns.iter().map(|(name, _)| *name).collect()
    }

    /// The statement that writes `rows`, at least one, each as long as the columns.
    pub(crate) fn statement(
        &self,
        dialect: Dialect,
        rows: impl Iterator<Item = Vec<Value>>,
    ) -> Statement {
        match (self.how, dialect) {
            (How::Upsert, _) => self.upsert(dialect, rows),
            (How::Update, Dialect::MySql) => self.update_joined(rows),
            (How::Update, Dialect::Postgres | Dialect::Sqlite) => self.update_from(dialect, rows),
        }
    }

    fn upsert(&self, dialect: Dialect, rows: impl Iterator<Item = Vec<Value>>) -> Statement {
        let made = self.made.iter().map(|(name, _)| *name);
        let columns: Vec<&str> = self.names().into_iter().chain(made).collect();
        let mut statement =
            Statement::from(format!("INSERT INTO {} ({}) VALUES ", self.name, columns.join(",")));
        for (index, row) in rows.enumerate() {
            statement.push(if index == 0 { "(" } else { ",(" });
            statement.push_values(dialect, row);
            for (_, sql) in self.made {
                statement.push(",").push(sql);
            }
            statement.push(")");
        }
        let latest = self.latest();
        let sets = self.sets.iter().map(|(column, set)| {
            let value = self.upserted(dialect, column, *set);
            match latest.filter(|_| dialect == Dialect::MySql) {
                Some(at) => format!("{column}=IF(VALUES({at})>={at},{value},{column})"),
                None => format!("{column}={value}"),
            }
        });
        let sets: Vec<String> = sets.collect();
        match dialect {
            Dialect::MySql => statement.push(" ON DUPLICATE KEY UPDATE "),
            Dialect::Postgres | Dialect::Sqlite => {
                let keys = self.keys.join(",");
                let action = if sets.is_empty() { "NOTHING" } else { "UPDATE SET " };
                statement.push(&format!(" ON CONFLICT ({keys}) DO {action}"))
            }
        };
        if sets.is_empty() && dialect == Dialect::MySql {
            // Changes nothing, and unlike INSERT IGNORE hides nothing either.
            let key = self.keys[0];
            statement.push(&format!("{key}=VALUES({key})"));
        }
        statement.push(&sets.join(","));
        if let Some(at) = latest.filter(|_| dialect != Dialect::MySql) {
            statement.push(&format!(" WHERE excluded.{at}>={}.{at}", self.name));
        }
        statement
    }

    /// What a column of a row that is there becomes.
    fn upserted(&self, dialect: Dialect, column: &str, set: Set) -> String {
        let name = self.name;
        match (set, dialect) {
            (Set::New | Set::Latest, Dialect::MySql) => format!("VALUES({column})"),
            (Set::Add, Dialect::MySql) => format!("{column}+VALUES({column})"),
            (Set::Fill, Dialect::MySql) => format!("COALESCE(VALUES({column}),{column})"),
            (Set::FillText, Dialect::MySql) => {
                format!("COALESCE(NULLIF(VALUES({column}),''),{column})")
            }
            (Set::FillText, _) => {
                format!("COALESCE(NULLIF(excluded.{column},''),{name}.{column})")
            }
            (Set::New | Set::Latest, _) => format!("excluded.{column}"),
            (Set::Fill, _) => format!("COALESCE(excluded.{column},{name}.{column})"),
            (Set::Add, _) => format!("{name}.{column}+excluded.{column}"),
            (Set::To(sql), _) => sql.to_owned(),
        }
    }

    /// The column by which a row that comes is told to be the later one.
    fn latest(&self) -> Option<&'static str> {
        let (column, set) = self.sets.last()?;
        (*set == Set::Latest).then_some(column)
    }

    /// By what rows that come are found among those that are there, where they are no later; with
    /// `plus` before what comes.
    fn joined(&self, plus: &str) -> String {
        let keys = self.keys.iter().map(|key| format!("t.{key}={plus}d.{key}"));
        let later = self.latest().map(|at| format!("d.{at}>=t.{at}"));
        keys.chain(later).collect::<Vec<_>>().join(" AND ")
    }

    /// MariaDB's and MySQL's way, also in the oldest: the rows as a table of their own, each looked
    /// up by its key.
    fn update_joined(&self, rows: impl Iterator<Item = Vec<Value>>) -> Statement {
        let mut statement = Statement::from("UPDATE (");
        for (index, row) in rows.enumerate() {
            statement.push(if index == 0 { "SELECT " } else { " UNION ALL SELECT " });
            for (at, (value, column)) in row.into_iter().zip(self.names()).enumerate() {
                if at > 0 {
                    statement.push(",");
                }
                statement.push_value(Dialect::MySql, value);
                if index == 0 {
                    statement.push(&format!(" AS {column}"));
                }
            }
        }
        let (name, keys) = (self.name, self.joined(""));
        statement.push(&format!(") d STRAIGHT_JOIN {name} t ON {keys} SET "));
        let sets = self.sets.iter().map(|(column, set)| match set {
            Set::New | Set::Latest => format!("t.{column}=d.{column}"),
            Set::Add => format!("t.{column}=t.{column}+d.{column}"),
            Set::Fill => format!("t.{column}=COALESCE(d.{column},t.{column})"),
            Set::FillText => format!("t.{column}=COALESCE(NULLIF(d.{column},''),t.{column})"),
            Set::To(sql) => format!("t.{column}={sql}"),
        });
        statement.push(&sets.collect::<Vec<_>>().join(","));
        statement
    }

    fn update_from(&self, dialect: Dialect, rows: impl Iterator<Item = Vec<Value>>) -> Statement {
        let mut statement =
            Statement::from(format!("WITH d({}) AS (VALUES ", self.names().join(",")));
        for (index, row) in rows.enumerate() {
            statement.push(if index == 0 { "(" } else { ",(" });
            statement.push_values(dialect, row);
            statement.push(")");
        }
        let sets = self.sets.iter().map(|(column, set)| match set {
            Set::New | Set::Latest => format!("{column}=d.{column}"),
            Set::Add => format!("{column}=t.{column}+d.{column}"),
            Set::Fill => format!("{column}=COALESCE(d.{column},t.{column})"),
            Set::FillText => format!("{column}=COALESCE(NULLIF(d.{column},''),t.{column})"),
            Set::To(sql) => format!("{column}={sql}"),
        });
        // The plus keeps SQLite from what it does by itself with many rows: to go through the whole
        // table and look each of its rows up among those that come.
        let plus = if dialect == Dialect::Sqlite { "+" } else { "" };
        let (name, keys) = (self.name, self.joined(plus));
        let sets = sets.collect::<Vec<_>>().join(",");
        statement.push(&format!(") UPDATE {name} AS t SET {sets} FROM d WHERE {keys}"));
        statement
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMS: Table = Table {
        name: "sums",
        columns: &[("id", Field::Member), ("n", Field::Uploaded), ("s", Field::UserAgent)],
        made: &[("at", "NOW()")],
        keys: &["id"],
        how: How::Upsert,
        sets: &[("n", Set::Add), ("s", Set::New)],
    };

    fn rows() -> impl Iterator<Item = Vec<Value>> {
        let row = |id, text: &str| {
            vec![Value::Int(id), Value::Bytes(vec![0, 0xff]), Value::Text(text.to_owned())]
        };
        vec![row(1, "a\\"), row(-2, "'b")].into_iter()
    }

    #[track_caller]
    fn check(how: How, dialect: Dialect, expected: &str) {
        let table = Table { how, ..SUMS };
        let statement = table.statement(dialect, rows());
        assert_eq!(statement.sql, expected);
        assert_eq!(statement.texts, ["a\\", "'b"]);
    }

    #[test]
    fn rows_are_put_in_or_changed_in_each_dialect() {
        check(
            How::Upsert,
            Dialect::MySql,
            "INSERT INTO sums (id,n,s,at) VALUES (1,x'00ff',?,NOW()),(-2,x'00ff',?,NOW()) \
             ON DUPLICATE KEY UPDATE n=n+VALUES(n),s=VALUES(s)",
        );
        check(
            How::Upsert,
            Dialect::Postgres,
            "INSERT INTO sums (id,n,s,at) VALUES (1,'\\x00ff'::bytea,$1,NOW()),\
             (-2,'\\x00ff'::bytea,$2,NOW()) \
             ON CONFLICT (id) DO UPDATE SET n=sums.n+excluded.n,s=excluded.s",
        );
        check(
            How::Update,
            Dialect::MySql,
            "UPDATE (SELECT 1 AS id,x'00ff' AS n,? AS s UNION ALL SELECT -2,x'00ff',?) d \
             STRAIGHT_JOIN sums t ON t.id=d.id SET t.n=t.n+d.n,t.s=d.s",
        );
        check(
            How::Update,
            Dialect::Sqlite,
            "WITH d(id,n,s) AS (VALUES (1,x'00ff',?),(-2,x'00ff',?)) \
             UPDATE sums AS t SET n=t.n+d.n,s=d.s FROM d WHERE t.id=+d.id",
        );
    }

    #[test]
    fn row_that_is_earlier_than_what_is_there_changes_nothing() {
        let check = |how, dialect, end: &str| {
            let table =
                Table { how, made: &[], sets: &[("s", Set::New), ("n", Set::Latest)], ..SUMS };
            let statement = table.statement(dialect, rows());
            assert!(statement.sql.ends_with(end), "{}", statement.sql);
        };
        check(
            How::Upsert,
            Dialect::MySql,
            "KEY UPDATE s=IF(VALUES(n)>=n,VALUES(s),s),n=IF(VALUES(n)>=n,VALUES(n),n)",
        );
        check(
            How::Upsert,
            Dialect::Sqlite,
            "SET s=excluded.s,n=excluded.n WHERE excluded.n>=sums.n",
        );
        check(How::Update, Dialect::MySql, "t ON t.id=d.id AND d.n>=t.n SET t.s=d.s,t.n=d.n");
        check(How::Update, Dialect::Postgres, "FROM d WHERE t.id=d.id AND d.n>=t.n");
    }

    #[test]
    fn rows_that_are_there_stay_where_nothing_is_set() {
        let table = Table { made: &[], sets: &[], ..SUMS };
        let end = |dialect| table.statement(dialect, rows()).sql;
        assert!(end(Dialect::MySql).ends_with(" ON DUPLICATE KEY UPDATE id=VALUES(id)"));
        assert!(end(Dialect::Sqlite).ends_with(" ON CONFLICT (id) DO NOTHING"));
    }

    #[test]
    fn text_is_written_in_where_it_means_itself() {
        for dialect in [Dialect::MySql, Dialect::Postgres, Dialect::Sqlite] {
            for text in ["", "2001:db8::1", "qBittorrent/4.6.5 (a-b_c+d, e)"] {
                let mut statement = Statement::default();
                statement.push_value(dialect, Value::Text(text.to_owned()));
                assert_eq!(statement, Statement::from(format!("'{text}'")));
            }
            for text in ["'", "\\", "\"", "%", "?", "$1", "\0", "é", "a;b", "a\nb"] {
                let mut statement = Statement::default();
                statement.push_value(dialect, Value::Text(text.to_owned()));
                assert_eq!(statement.texts, [text]);
                assert!(statement.sql.len() <= 2, "{}", statement.sql);
            }
        }
    }

    #[test]
    fn numbers_that_a_column_does_not_hold_become_the_largest() {
        assert_eq!(Value::size(u64::MAX), Value::Int(i64::MAX));
        assert_eq!(Value::small(u64::MAX), Value::Int(i64::from(i32::MAX)));
        assert_eq!(Value::small(7_u32), Value::Int(7));
    }
}
