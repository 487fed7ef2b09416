//! `cargo xtask tidy`: what STYLE.md says of sizes, names and arrows, as a test.
//!
//! Looks at every file git tracks and every new one it does not ignore. Deliberately simple: it
//! reads lines and braces, it does not parse Rust. One check is one function from a [`File`] to
//! complaints, and each has a test that shows it failing.

mod house;
mod lexer;
mod sizes;
mod words;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::shell::{self, Outcome, Workspace};
use lexer::Lines;

/// Larger ones belong elsewhere than in a repository.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file of the repository.
struct File {
    /// Below the root, with `/`.
    path: String,
    /// Empty where the file is not UTF-8.
    text: String,
    /// The text without comments and without what strings hold; only of files with code.
    lines: Option<Lines>,
}

impl File {
    fn new(path: &str, text: &str) -> Self {
        let lines = Lines::of(path, text);
        Self { path: path.to_owned(), text: text.to_owned(), lines }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_below(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// What is wrong and where.
#[derive(Debug, PartialEq, Eq)]
struct Complaint {
    path: String,
    /// From 1; 0 where the file as a whole is meant.
    line: usize,
    what: String,
}

impl Complaint {
    fn new(file: &File, line: usize, what: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line, what: what.into() }
    }
}

type Check = fn(&File, &mut Vec<Complaint>);

const CHECKS: [Check; 11] = [
    sizes::line_length,
    sizes::function_length,
    sizes::file_length,
    words::head_comment,
    words::banned_words,
    words::banned_names,
    words::white_space,
    words::machine,
    house::no_std,
    house::safe,
    house::arrows,
];

pub(crate) fn run(workspace: &Workspace, _: &[String]) -> Outcome {
    let mut git = Command::new("git");
    git.current_dir(&workspace.root).args(["ls-files", "-z"]);
    let listed = shell::output(git.args(["--cached", "--others", "--exclude-standard"]))?;
    let mut complaints = Vec::new();
    let mut files = 0;
    for path in listed.split_terminator('\0') {
        let whole = workspace.root.join(path);
        // A file that was deleted is still listed until that is committed; a link's target is
        // listed by itself or is none of ours.
        if !fs::symlink_metadata(&whole).is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        files += 1;
        check_file(path, &whole, &mut complaints).map_err(|error| format!("{path}: {error}"))?;
    }
    for Complaint { path, line, what } in &complaints {
        eprintln!("{path}:{line}: {what}");
    }
    match complaints.len() {
        0 => {
            eprintln!("tidy: {files} files, nothing to complain of");
            Ok(())
        }
        count => Err(format!("{count} complaints, see above")),
    }
}

fn check_file(path: &str, whole: &Path, complaints: &mut Vec<Complaint>) -> std::io::Result<()> {
    let bytes = fs::metadata(whole)?.len();
    if bytes > FILE_BYTES_MAX {
        let what = format!("{bytes} bytes, more than {FILE_BYTES_MAX}");
        complaints.push(Complaint { path: path.to_owned(), line: 0, what });
        return Ok(());
    }
    let file = File::new(path, &String::from_utf8(fs::read(whole)?).unwrap_or_default());
    for check in CHECKS {
        check(&file, complaints);
    }
    Ok(())
}

/// Runs one check on an invented file and compares the lines it complains of.
#[cfg(test)]
#[track_caller]
fn check(check: Check, path: &str, text: &str, lines: &[usize]) {
    let mut complaints = Vec::new();
    check(&File::new(path, text), &mut complaints);
    let found: Vec<usize> = complaints.iter().map(|complaint| complaint.line).collect();
    assert_eq!(found, lines, "{path}: {complaints:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_over_one_mebibyte_is_found() {
        let path = std::env::temp_dir().join(format!("peerage-tidy-{}", std::process::id()));
        for (bytes, count) in [(1 << 20, 0), ((1 << 20) + 1, 1)] {
            fs::write(&path, vec![b'\n'; bytes]).expect("the file is ours");
            let mut complaints = Vec::new();
            check_file("data.bin", &path, &mut complaints).expect("it was just written");
            assert_eq!(complaints.len(), count, "{complaints:?}");
        }
        fs::remove_file(path).expect("the file is ours");
    }

    #[test]
    fn file_that_is_not_utf8_is_taken_as_data() {
        let path = std::env::temp_dir().join(format!("peerage-tidy-data-{}", std::process::id()));
        fs::write(&path, b"\xff \n\t \n").expect("the file is ours");
        let mut complaints = Vec::new();
        check_file("data.bin", &path, &mut complaints).expect("it was just written");
        fs::remove_file(path).expect("the file is ours");
        assert_eq!(complaints, []);
    }
}
