//! The store against real databases: each schema, dialect and SQL mode, row by row, and each way
//! in which a database can fail.

mod faults;
mod gazelle;
mod load_time;
mod own;
mod rows;

use std::time::Duration;

use peerage_sql::{Options, Schema, Store};

/// Runs a future to its end, on one thread.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(future)
}

/// Options with limits that a test can wait for.
fn options(url: &str, schema: Schema) -> Options {
    Options {
        connect_time_max: Duration::from_secs(4),
        statement_time_max: Duration::from_secs(3),
        ..Options::new(url, schema)
    }
}

/// A store that is known to open.
async fn open(url: &str, schema: Schema) -> Store {
    Store::open(&options(url, schema)).await.expect("the database is there")
}
