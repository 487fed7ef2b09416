//! What `bench private` knows of Ocelot: its configuration, and what its report says.

use std::net::SocketAddr;
use std::time::Duration;

use peerage_testkit::MariaDb;

use crate::http_load::fetch;

/// How long it takes at most until what was announced stands in one of its queues: it looks every
/// three seconds.
pub(crate) const LOOKS_AROUND: Duration = Duration::from_millis(3500);

/// Whoever asks for its report says this, in 32 bytes.
const REPORT_PASSWORD: &str = "00000000000000000000000000000002";

/// Its configuration but for the port, with the site's database as ours has it. It closes each
/// connection unless it is told how long to keep one.
pub(crate) fn config(server: &MariaDb) -> String {
    format!(
        "max_connections = 1024\nkeepalive_timeout = 60\nconnection_timeout = 10\n\
         announce_interval = 1800\nnumwant_limit = 50\nmysql_host = 127.0.0.1\n\
         mysql_port = {}\nmysql_db = {}\nmysql_username = {}\nmysql_password = {}\n\
         site_host = 127.0.0.1\nsite_password = {:032}\nreport_password = {REPORT_PASSWORD}\n",
        server.port(),
        MariaDb::DATABASE,
        MariaDb::USER,
        MariaDb::PASSWORD,
        1,
    )
}

/// Statements that wait to be written.
pub(crate) fn queued(address: SocketAddr) -> Result<f64, String> {
    let report = report(address)?;
    let mut sum = 0.0;
    for queue in ["user", "torrent", "peer", "snatch", "token"] {
        sum += number(&report, &format!("items in {queue} queue"))?;
    }
    Ok(sum)
}

/// Peers it has.
pub(crate) fn peers(address: SocketAddr) -> Result<f64, String> {
    let report = report(address)?;
    Ok(number(&report, "seeders tracked")? + number(&report, "leechers tracked")?)
}

fn report(address: SocketAddr) -> Result<String, String> {
    let report = fetch(address, &format!("/{REPORT_PASSWORD}/report?get=stats"));
    report.map_err(|error| format!("its report: {error}"))
}

/// The number of this name in a report.
fn number(report: &str, name: &str) -> Result<f64, String> {
    let found = report.split_once(&format!("\"{name}\":")).and_then(|(_, item)| {
        let (_, value) = item.split_once("\"value\":")?;
        value.split(['}', ',']).next()?.trim().parse().ok()
    });
    found.ok_or_else(|| format!("its report has no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_report_are_found_by_name() {
        let report = "{\"a\":{\"type\":\"number\",\"value\":1},\
                      \"ab\":{\"type\":\"number\",\"value\":23}}\n";
        assert_eq!(number(report, "a"), Ok(1.0));
        assert_eq!(number(report, "ab"), Ok(23.0));
        assert!(number(report, "b").is_err());
    }
}
