//! Results as Markdown: printed as they come, and written to `bench/results` at the end.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::args::Options;

/// One run's results.
pub(crate) struct Report {
    name: String,
    text: String,
    directory: Option<PathBuf>,
}

impl Report {
    /// Starts a report with what a reader needs to repeat it: machine, commit, command.
    pub(crate) fn new(name: &str, options: &Options) -> Self {
        let default = || PathBuf::from("bench/results");
        let directory = (!options.is_dry).then(|| options.results.clone().unwrap_or_else(default));
        let mut report = Self { name: name.to_owned(), text: String::new(), directory };
        // Where things lie on this machine is of no use to anybody else.
        let name_of = |word: String| match word.rsplit_once('/') {
            Some((folders, name)) if folders.starts_with('/') => name.to_owned(),
            _ => word,
        };
        let command: Vec<_> = std::env::args().skip(1).map(name_of).collect();
        report.line(&format!("# bench {name}, {}\n", today()));
        report.line(&format!("- machine: {}", machine()));
        report.line(&format!("- commit: {}", commit()));
        let peerage = options.peerage();
        report.line(&format!("- our server: {}", version(&peerage)));
        report.line(&format!("- command: `cargo xtask bench {}`", command.join(" ")));
        report
    }

    /// Adds a line, and prints it.
    pub(crate) fn line(&mut self, line: &str) {
        println!("{line}");
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Adds a table under a heading, and prints it.
    pub(crate) fn table(&mut self, heading: &str, table: &Table) {
        self.line(&format!("\n## {heading}\n\n{}", table.to_text()));
    }

    /// Writes the report to `<date>-<name>.md`, over an earlier one of the day.
    pub(crate) fn save(self) -> Result<(), String> {
        let Some(directory) = self.directory else { return Ok(()) };
        let path = directory.join(format!("{}-{}.md", today(), self.name));
        let explain = |error| format!("{}: {error}", path.display());
        fs::create_dir_all(&directory).map_err(explain)?;
        fs::write(&path, self.text).map_err(explain)?;
        println!("\nwritten to {}", path.display());
        Ok(())
    }
}

/// A table whose first column is text and whose others are figures.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column heads.
    pub(crate) fn new(heads: &[&str]) -> Self {
        Self { rows: vec![heads.iter().map(|&head| head.to_owned()).collect()] }
    }

    /// Adds a row, as wide as the heads.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.rows[0].len(), "a row is as wide as the heads");
        self.rows.push(cells);
    }

    fn to_text(&self) -> String {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<_> = (0..self.rows[0].len()).filter_map(width).collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let _ = match column {
                    0 => write!(text, "| {cell:<width$} "),
                    _ => write!(text, "| {cell:>width$} "),
                };
            }
            text.push_str("|\n");
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    text.push_str(if column == 0 { "|-" } else { "| " });
                    text.push_str(&"-".repeat(*width));
                    text.push_str(if column == 0 { "-" } else { ":" });
                }
                text.push_str("|\n");
            }
        }
        text.trim_end().to_owned()
    }
}

/// The median of some figures; 0 where there are none.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => 0.0,
        count if count % 2 == 1 => figures[count / 2],
        count => f64::midpoint(figures[count / 2 - 1], figures[count / 2]),
    }
}

/// A whole number with its thousands apart.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.unwrap_or("unknown").trim_start_matches([' ', '\t', ':']);
    let cores = processors.lines().filter(|line| line.starts_with("processor")).count();
    let memory = read("/proc/meminfo");
    let kib = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok());
    format!(
        "{model}, {cores} cores, {:.0} GiB, Linux {}",
        kib.unwrap_or(0.0) / f64::from(1 << 20),
        read("/proc/sys/kernel/osrelease").trim()
    )
}

/// What our server says it is, and by its size which build.
fn version(path: &Path) -> String {
    let output = Command::new(path).arg("--version").output();
    let said = output.ok().filter(|output| output.status.success());
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
    match said {
        Some(said) => format!("{said}, a binary of {bytes} bytes"),
        None => "not built".to_owned(),
    }
}

/// The commit checked out, with a `+` where files differ from it.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(id) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let is_clean =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|s| s.is_empty());
    if is_clean { id } else { format!("{id}+") }
}

/// Today in UTC, as 2026-11-21.
fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    date(since.as_secs() / 86_400)
}

/// The date so many days after 1970-01-01, by the count of days in 400 years (146,097).
fn date(days: u64) -> String {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + u64::from(month <= 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_by_the_calendar() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(19_782), "2024-02-29");
        assert_eq!(date(20_778), "2026-11-21");
    }

    #[test]
    fn medians_are_of_the_middle() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn tables_are_aligned_markdown() {
        let mut table = Table::new(&["name", "n"]);
        table.row(vec!["a".to_owned(), thousands(1_234_567.0)]);
        assert_eq!(
            table.to_text(),
            "| name |         n |\n|------| ---------:|\n| a    | 1 234 567 |"
        );
    }
}
