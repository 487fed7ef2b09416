//! Words, names and white space that are not to be.
//!
//! What is banned is spelt in two halves here, or this file would be the first to be found.

use super::lexer::is_word;
use super::{Complaint, File};

/// In code and in prose. STYLE.md bans them, and so has to name them.
const WORDS: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
];

/// Of files and modules: they say that something was put there, not what it is.
const NAMES: [&str; 8] =
    ["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"];

/// Folders of a machine, and hosts of package registries: both are different elsewhere.
const MACHINE: [&str; 9] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("crates", ".io"),
    concat!("static.rust", "-lang"),
    concat!("pypi", ".org"),
    concat!("python", "hosted.org"),
    concat!("npm", "js."),
    concat!("deb.", "debian.org"),
];

/// A Rust file starts with what it is.
pub(super) fn head_comment(file: &File, complaints: &mut Vec<Complaint>) {
    let mut lines = file.text.lines();
    let mut first = lines.next().unwrap_or_default();
    if first.starts_with("#!/") {
        first = lines.next().unwrap_or_default();
    }
    if file.is_rust() && !first.starts_with("//! ") {
        complaints.push(Complaint::new(file, 1, "does not start with `//!` and what it is"));
    }
}

/// Work left undone: what is not done is written in the crate's documentation.
pub(super) fn banned_words(file: &File, complaints: &mut Vec<Complaint>) {
    let is_prose = file.path.ends_with(".md") && file.path != "STYLE.md";
    if file.lines.is_some() || is_prose {
        find(file, &WORDS, "unfinished work", complaints);
    }
}

/// Names of files, folders and modules.
pub(super) fn banned_names(file: &File, complaints: &mut Vec<Complaint>) {
    let stems = file.path.split('/').map(|part| part.split('.').next().unwrap_or_default());
    for name in stems.filter(|stem| NAMES.contains(stem)) {
        complaints.push(Complaint::new(file, 0, format!("`{name}` does not say what it is")));
    }
    let code = file.lines.iter().flat_map(|lines| &lines.code).enumerate();
    for (line, text) in code.filter(|_| file.is_rust()) {
        let mut words = text.split(|character| !is_word(character)).filter(|word| !word.is_empty());
        let module = words.find(|&word| word == "mod").and_then(|_| words.next());
        if let Some(name) = module.filter(|name| NAMES.contains(name)) {
            let what = format!("`mod {name}` does not say what it is");
            complaints.push(Complaint::new(file, line + 1, what));
        }
    }
}

/// Blanks at the end of a line, tabs in Rust, a last line without an end.
pub(super) fn white_space(file: &File, complaints: &mut Vec<Complaint>) {
    for (line, text) in file.text.split_terminator('\n').enumerate() {
        if text.ends_with(char::is_whitespace) {
            complaints.push(Complaint::new(file, line + 1, "blanks at the end"));
        }
        if file.is_rust() && text.contains('\t') {
            complaints.push(Complaint::new(file, line + 1, "a tab"));
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        let line = file.text.lines().count();
        complaints.push(Complaint::new(file, line, "no newline at the end"));
    }
}

/// Paths and hosts that hold on one machine only. Cargo.lock names its registry by itself.
pub(super) fn machine(file: &File, complaints: &mut Vec<Complaint>) {
    if !file.path.ends_with("Cargo.lock") {
        find(file, &MACHINE, "a path or host of one machine", complaints);
    }
}

/// Complains of lines with one of `words`, where no word goes on before or after it.
fn find(file: &File, words: &[&str], why: &str, complaints: &mut Vec<Complaint>) {
    for (line, text) in file.text.lines().enumerate() {
        let holds = |word: &&&str| {
            text.match_indices(**word).any(|(at, _)| {
                let end = at + word.len();
                let before = word.starts_with(is_word) && text[..at].ends_with(is_word);
                let after = word.ends_with(is_word) && text[end..].starts_with(is_word);
                !before && !after
            })
        };
        if let Some(word) = words.iter().find(holds) {
            complaints.push(Complaint::new(file, line + 1, format!("`{word}`: {why}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn rust_file_without_a_head_comment_is_found() {
        check(head_comment, "a.rs", "//! What it is.\nfn f() {}\n", &[]);
        check(head_comment, "a.rs", "#!/usr/bin/env script\n//! What it is.\n", &[]);
        for text in ["", "\n//! What it is.\n", "// What it is.\n", "#![no_std]\n", "//!\n"] {
            check(head_comment, "a.rs", text, &[1]);
        }
        check(head_comment, "a.md", "text\n", &[]);
    }

    #[test]
    fn unfinished_work_is_found_in_code_and_prose() {
        for word in WORDS {
            check(banned_words, "a.rs", &format!("//!\nf(); // {word} later\n"), &[2]);
            check(banned_words, "a.md", &format!("{word}\n"), &[1]);
            check(banned_words, "a.toml", &format!("{word}\n"), &[]);
            check(banned_words, "STYLE.md", &format!("{word}\n"), &[]);
        }
        check(banned_words, "a.rs", concat!("XX", "XX MY_TO", "DO\n"), &[]);
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        check(banned_names, "crates/a/src/swarm.rs", "//!\nmod peer;\n", &[]);
        check(banned_names, "crates/a/src/utils.rs", "//!\n", &[0]);
        check(banned_names, "crates/a/tests/common/mod.rs", "//!\n", &[0]);
        check(banned_names, "a.rs", "//!\npub(crate) mod helper {\n}\nmod common;\n", &[2, 4]);
        check(banned_names, "a.rs", "//! mod common;\nlet common = 1;\n", &[]);
    }

    #[test]
    fn stray_white_space_is_found() {
        check(white_space, "a.rs", "a\n    b\n", &[]);
        check(white_space, "a.rs", "a \nb\r\n\tc\n", &[1, 2, 3]);
        check(white_space, "a.toml", "a\t= 1\nb", &[2]);
        check(white_space, "empty", "", &[]);
    }

    #[test]
    fn paths_and_hosts_of_a_machine_are_found() {
        for word in MACHINE {
            check(machine, "a.toml", &format!("a\n# {word} x\n"), &[2]);
            check(machine, "Cargo.lock", &format!("{word}\n"), &[]);
        }
        check(machine, "a.md", "/tmp/x and /var/lib/peerage\n", &[]);
    }
}
