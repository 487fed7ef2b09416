//! The tables of `bench private`.

use std::process::Command;

use crate::args::Options;
use crate::private::{Figures, Kind, Trial, Way};
use crate::private_tables::Sizes;
use crate::report::{Report, Table, median, thousands};

/// All but memory, in the order in which they are read.
pub(crate) fn report_tables(
    options: &Options,
    report: &mut Report,
    trials: &[Trial],
    sizes: Sizes,
) {
    let (members, torrents) = (thousands(sizes.members.into()), thousands(sizes.torrents.into()));
    report.table(&format!("Loading {members} members and {torrents} torrents"), &loading(trials));
    report.table("HTTP, kept alive", &table(trials, Way::Kept));
    report.table("HTTP, a connection for each request", &table(trials, Way::Each));
    report.table("UDP", &table(trials, Way::Udp));
    report.line(
        "\n*answering* is all but the threads that write; *writing* is theirs until every row of \
         the round was written, SQLite's own work included, MariaDB's not. *x* is how many times \
         as much as the other for a reply over HTTP kept alive, over UDP too; of open over the \
         same way.",
    );
    report.table("Bytes uploaded, at the end", &credit(trials));
    if options.ocelot.is_none() {
        report.line(
            "\nNo Ocelot was given (`--ocelot PATH`). Where it was measured it took 24 CPU-s per M \
             over HTTP kept alive, beside 8 to 12 of nginx with a constant: 2.5 times as fast is \
             9.6, 0.8 to 1.2 x nginx; 7 times as fast, over UDP, is 3.4, 0.29 to 0.43 x nginx.",
        );
    }
}

fn loading(trials: &[Trial]) -> Table {
    let mut table = Table::new(&["server", "s until ready", "CPU-s", "RSS MiB"]);
    for trial in trials.iter().filter(|trial| matches!(trial.kind, Kind::Members | Kind::Ocelot)) {
        table.row(vec![
            trial.name.to_owned(),
            format!("{:.2}", trial.loaded.as_secs_f64()),
            format!("{:.2}", trial.loaded_cpu.as_secs_f64()),
            thousands(trial.loaded_bytes as f64 / f64::from(1 << 20)),
        ]);
    }
    table
}

/// What clients said to have moved, and what the tables were credited with.
fn credit(trials: &[Trial]) -> Table {
    let mut table = Table::new(&["server", "said", "credited", "of it"]);
    for trial in trials {
        let Some((said, credited)) = trial.credit else { continue };
        table.row(vec![
            trial.name.to_owned(),
            thousands(said as f64),
            thousands(credited as f64),
            format!("{:.4} %", 100.0 * credited as f64 / said as f64),
        ]);
    }
    table
}

/// CPU-seconds per million replies, all of them.
fn sum(trial: &Trial, way: Way) -> Option<f64> {
    let figures = &trial.figures[way as usize];
    let sums = figures.iter().map(|one| one.answering() + one.per_million(one.written));
    (!figures.is_empty()).then(|| median(sums))
}

fn table(trials: &[Trial], way: Way) -> Table {
    let find = |kind| trials.iter().find(|trial| trial.kind == kind);
    let open = find(Kind::Open).and_then(|trial| sum(trial, way));
    // Over HTTP kept alive, in all tables: it is what other machines can be compared by.
    let nginx = find(Kind::Constant).and_then(|trial| sum(trial, Way::Kept));
    let ocelot = find(Kind::Ocelot).and_then(|trial| sum(trial, Way::Kept));
    let mut table = Table::new(&[
        "server",
        "replies/s",
        "CPU-s per M",
        "answering",
        "writing",
        "x open",
        "x nginx",
        "x ocelot",
        "rows per reply",
        "rows/s",
        "p50 us",
        "p99 us",
        "RSS MiB",
        "others",
    ]);
    for trial in trials {
        let Some(sum) = sum(trial, way) else { continue };
        let of = |figure: &dyn Fn(&Figures) -> f64| {
            median(trial.figures[way as usize].iter().map(figure))
        };
        let times = |other: Option<f64>| {
            other.map_or("-".to_owned(), |other| format!("{:.2}", sum / other))
        };
        let rows = |text: String| if trial.kind == Kind::Ocelot { "-".to_owned() } else { text };
        table.row(vec![
            trial.name.to_owned(),
            thousands(of(&|one| one.replies / one.elapsed.as_secs_f64())),
            format!("{sum:.2}"),
            format!("{:.2}", of(&Figures::answering)),
            format!("{:.2}", of(&|one| one.per_million(one.written))),
            times(open),
            times(nginx),
            times(ocelot),
            rows(format!("{:.2}", of(&|one| one.rows / one.replies))),
            rows(thousands(of(&|one| one.rows / one.rows_elapsed.as_secs_f64()))),
            format!("{:.0}", of(&|one| one.p50)),
            format!("{:.0}", of(&|one| one.p99)),
            thousands(trial.server.process.rss_bytes() as f64 / f64::from(1 << 20)),
            format!("{:.0} %", 100.0 * of(&|one| one.others)),
        ]);
    }
    table
}

/// Bytes per member, torrent and peer, each shape in a process of its own.
pub(crate) fn memory(options: &Options, report: &mut Report, sizes: Sizes) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let peers = options.peers.unwrap_or(1_000_000);
    let mut table =
        Table::new(&["peers a swarm", "bytes per member", "per torrent", "per peer", "RSS MiB"]);
    for (shape, torrents) in [("1", peers), ("10", peers / 10), ("1 000", peers / 1000)] {
        let numbers = [sizes.members, torrents, peers].map(|number| number.max(1).to_string());
        let [members, swarms, count] = &numbers;
        let flags = ["private-memory", "--members", members, "--swarms", swarms, "--peers", count];
        let output = Command::new(&program).args(flags).output();
        let output = output.map_err(|error| format!("private-memory: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let bytes: Vec<f64> = said.split_whitespace().flat_map(str::parse).collect();
        let &[empty, with_members, with_torrents, with_peers, resident] = bytes.as_slice() else {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("private-memory: {said}{error}"));
        };
        let each = |bytes: f64, count: u32| format!("{:.1}", bytes / f64::from(count.max(1)));
        table.row(vec![
            shape.to_owned(),
            each(with_members - empty, sizes.members),
            each(with_torrents - with_members, torrents),
            each(with_peers - with_torrents, peers),
            thousands(resident / f64::from(1 << 20)),
        ]);
    }
    report.table("Memory allocated, with what the allocator adds", &table);
    Ok(())
}
