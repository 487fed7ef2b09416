//! What can be wrong with a database, by who must act.

use std::fmt;

use sqlx::error::DatabaseError;

use crate::Dialect;

/// Why something was not done. All of it can be tried again: a row that the database refuses is
/// no error but a [`DeadRow`](crate::DeadRow). The texts hold no passkey and no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The database is not reached, died, or did not answer in time. The connection is given up.
    Lost(String),
    /// It answers, but takes nothing now: locked, full, read-only, going down.
    Busy(String),
    /// Its address, rights or tables are not right, and will not be before an operator acts.
    Setup(String),
}

impl Error {
    /// Whether trying again is of no use before an operator has acted.
    pub fn is_for_the_operator(&self) -> bool {
        matches!(self, Self::Setup(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(what) => write!(f, "the database is out of reach: {what}"),
            Self::Busy(what) => write!(f, "the database takes nothing now: {what}"),
            Self::Setup(what) => write!(f, "the database is not as it should be: {what}"),
        }
    }
}

impl std::error::Error for Error {}

/// What became of one statement that was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The fault of something around it.
    Error(Error),
    /// The fault of a row in it.
    Refused(String),
    /// It is longer than the server takes.
    TooLarge(String),
}

impl From<Failure> for Error {
    /// Where there are no rows to be at fault.
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Error(error) => error,
            Failure::Refused(what) | Failure::TooLarge(what) => Self::Setup(what),
        }
    }
}

/// What an error of the driver means.
pub(crate) fn classify(dialect: Dialect, error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(said) => classify_said(dialect, said.as_ref()),
        sqlx::Error::Configuration(what) => Failure::Error(Error::Setup(what.to_string())),
        sqlx::Error::Tls(what) => Failure::Error(Error::Setup(format!("TLS: {what}"))),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            Failure::Error(Error::Setup(error.to_string()))
        }
        sqlx::Error::Io(what) => {
            Failure::Error(Error::Lost(format!("the connection has ended: {what}")))
        }
        _ => Failure::Error(Error::Lost(error.to_string())),
    }
}

/// What an error that the database itself told means.
fn classify_said(dialect: Dialect, said: &dyn DatabaseError) -> Failure {
    let code = said.code().unwrap_or_default().into_owned();
    let text = said.message().to_owned();
    match dialect {
        Dialect::Sqlite => classify_sqlite(code.parse().unwrap_or(1), &text),
        Dialect::Postgres => classify_postgres(&code, &text),
        Dialect::MySql => {
            let said = said.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>();
            let number = said.map_or(0, sqlx::mysql::MySqlDatabaseError::number);
            classify_mysql(number, &code, format!("{number}: {text}"))
        }
    }
}

fn classify_mysql(number: u16, state: &str, text: String) -> Failure {
    match number {
        // A column without default that the statement does not name: every row would be refused.
        1364 => Failure::Error(Error::Setup(text)),
        1153 | 1105 if text.contains("max_allowed_packet") => Failure::TooLarge(text),
        1153 => Failure::TooLarge(text),
        // Cut, wrong or out of range, told with a general SQLSTATE; and what a trigger says.
        1265 | 1267 | 1300 | 1366 | 1644 => Failure::Refused(text),
        // Access, unknown database, table or column, a syntax that the server does not know.
        1044 | 1045 | 1049 | 1054 | 1064 | 1142 | 1143 | 1146 | 1227 | 1698 => {
            Failure::Error(Error::Setup(text))
        }
        // Going down, killed, and what ends the connection.
        1053 | 1077 | 1079 | 1080 | 1152 | 1158..=1161 | 1184 | 1927 | 2006 | 2013 => {
            Failure::Error(Error::Lost(text))
        }
        _ if state.starts_with("22") || state.starts_with("23") => Failure::Refused(text),
        _ => Failure::Error(Error::Busy(text)),
    }
}

fn classify_postgres(state: &str, text: &str) -> Failure {
    let text = format!("{state}: {text}");
    match state.get(..2).unwrap_or_default() {
        "22" | "23" | "P0" => Failure::Refused(text),
        "08" | "57" if state != "57014" => Failure::Error(Error::Lost(text)),
        "28" | "3D" | "42" => Failure::Error(Error::Setup(text)),
        "54" => Failure::TooLarge(text),
        _ => Failure::Error(Error::Busy(text)),
    }
}

fn classify_sqlite(extended: i32, text: &str) -> Failure {
    let text = format!("{extended}: {text}");
    // The low byte is the kind (https://sqlite.org/rescode.html), what is above it the detail.
    match extended & 0xff {
        18 => Failure::TooLarge(text),
        // CONSTRAINT and MISMATCH.
        19 | 20 => Failure::Refused(text),
        // ERROR (no such table), PERM, CORRUPT, CANTOPEN, NOTADB.
        1 | 3 | 11 | 14 | 26 => Failure::Error(Error::Setup(text)),
        _ => Failure::Error(Error::Busy(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(failure: &Failure, expected: &str) {
        let kind = match failure {
            Failure::Error(Error::Lost(_)) => "lost",
            Failure::Error(Error::Busy(_)) => "busy",
            Failure::Error(Error::Setup(_)) => "setup",
            Failure::Refused(_) => "refused",
            Failure::TooLarge(_) => "too large",
        };
        assert_eq!(kind, expected);
    }

    #[test]
    fn row_at_fault_is_told_from_a_database_at_fault() {
        for (number, state, expected) in [
            (1062, "23000", "refused"),
            (1452, "23000", "refused"),
            (1406, "22001", "refused"),
            (1264, "22003", "refused"),
            (1366, "HY000", "refused"),
            (1364, "HY000", "setup"),
            (1146, "42S02", "setup"),
            (1205, "HY000", "busy"),
            (1213, "40001", "busy"),
            (1114, "HY000", "busy"),
            (1290, "HY000", "busy"),
            (1053, "08S01", "lost"),
            (1153, "08S01", "too large"),
        ] {
            check(&classify_mysql(number, state, String::new()), expected);
        }
        for (state, expected) in [
            ("22001", "refused"),
            ("23503", "refused"),
            ("40P01", "busy"),
            ("53100", "busy"),
            ("25006", "busy"),
            ("57014", "busy"),
            ("57P01", "lost"),
            ("42P01", "setup"),
            ("28P01", "setup"),
        ] {
            check(&classify_postgres(state, ""), expected);
        }
        for (code, expected) in
            [(5, "busy"), (13, "busy"), (8, "busy"), (2067, "refused"), (1, "setup")]
        {
            check(&classify_sqlite(code, ""), expected);
        }
    }
}
