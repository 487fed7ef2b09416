//! Source text with comments and strings blanked out, so that braces and words can be counted.
//!
//! Knows just enough of Rust and of TypeScript: nested comments, raw strings, character literals
//! apart from lifetimes, template strings as a whole.

use std::ops::Range;

/// The lines of a source file.
pub(super) struct Lines {
    /// What is left of each line: comments and what strings hold are blanks, all else is in place.
    pub(super) code: Vec<String>,
    /// Of each line, whether it belongs to a module or item under `#[cfg(test)]`.
    pub(super) is_test: Vec<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Rust,
    Script,
}

impl Lines {
    /// `None` for files that are not code.
    pub(super) fn of(path: &str, text: &str) -> Option<Self> {
        let language = match path.rsplit_once('.')?.1 {
            "rs" => Language::Rust,
            "ts" | "vue" => Language::Script,
            _ => return None,
        };
        let code: Vec<String> = blank(language, text).lines().map(str::to_owned).collect();
        let mut is_test = vec![false; code.len()];
        for line in 0..code.len() {
            if language == Language::Rust && code[line].trim() == "#[cfg(test)]" {
                let item = item_lines(&code, line + 1);
                is_test[line..item.end].fill(true);
            }
        }
        Some(Self { code, is_test })
    }
}

/// The lines of the item that starts on line `start`: to the brace that closes its first one, or
/// to its semicolon where it has no braces.
pub(super) fn item_lines(code: &[String], start: usize) -> Range<usize> {
    let mut depth = 0_usize;
    // Of brackets and parentheses: a semicolon in `[u8; 4]` ends nothing.
    let mut inner = 0_usize;
    for (line, text) in code.iter().enumerate().skip(start) {
        for character in text.chars() {
            match character {
                '{' => depth += 1,
                '}' if depth <= 1 => return start..line + 1,
                '}' => depth -= 1,
                '(' | '[' => inner += 1,
                ')' | ']' => inner = inner.saturating_sub(1),
                ';' if depth == 0 && inner == 0 => return start..line + 1,
                _ => {}
            }
        }
    }
    start..code.len()
}

fn blank(language: Language, text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut blanked = String::with_capacity(text.len());
    let mut at = 0;
    while at < characters.len() {
        let rest = &characters[at..];
        let length = span(language, &characters, at);
        match length {
            0 => blanked.push(rest[0]),
            _ => blanked.extend(
                rest[..length].iter().map(|&character| if character == '\n' { '\n' } else { ' ' }),
            ),
        }
        at += length.max(1);
    }
    blanked
}

/// How many characters from `at` on are a comment or a string; 0 where neither starts there.
fn span(language: Language, characters: &[char], at: usize) -> usize {
    let rest = &characters[at..];
    match rest {
        ['/', '/', ..] => rest.iter().position(|&end| end == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => comment(rest),
        ['"', ..] => quoted(rest, '"'),
        ['\'' | '`', ..] if language == Language::Script => quoted(rest, rest[0]),
        ['\'', ..] => character_literal(rest),
        ['r' | 'b' | 'c', ..] if language == Language::Rust && !follows_word(characters, at) => {
            raw_string(rest)
        }
        _ => 0,
    }
}

fn follows_word(characters: &[char], at: usize) -> bool {
    at.checked_sub(1).is_some_and(|before| is_word(characters[before]))
}

pub(super) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// A block comment, nested ones included.
fn comment(rest: &[char]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// From one quote to the next that no backslash precedes.
fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            end if end == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime and stays.
fn character_literal(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', ..] => quoted(rest, '\''),
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

/// `r"…"`, `r#"…"#`, `br"…"`, `cr"…"` and, for the sake of one place, plain `b"…"` and `b'…'`.
fn raw_string(rest: &[char]) -> usize {
    let prefix = rest.iter().take_while(|character| matches!(character, 'r' | 'b' | 'c')).count();
    let hashes = rest[prefix..].iter().take_while(|&&character| character == '#').count();
    let open = prefix + hashes;
    let is_raw = rest[..prefix].contains(&'r');
    match rest.get(open) {
        Some('"') if is_raw => {}
        Some('"') if hashes == 0 => return open + quoted(&rest[open..], '"'),
        Some('\'') if hashes == 0 && !is_raw => return open + character_literal(&rest[open..]),
        _ => return 0,
    }
    let mut at = open + 1;
    while at < rest.len() {
        let closes = rest[at] == '"'
            && rest[at + 1..].iter().take(hashes).filter(|&&end| end == '#').count() == hashes;
        if closes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &str) {
        let lines = Lines::of(path, text).expect("a name with code in it");
        assert_eq!(lines.code.join("\n"), expected);
    }

    #[test]
    fn comments_and_strings_of_rust_are_blanked() {
        let cases = [
            ("a // {", "a     "),
            ("a /* { /* */ } */ b", "a                 b"),
            ("a(\"{\\\"{\") {", "a(      ) {"),
            ("'{' 'a '\\'' b'{'", "    'a          "),
            ("r#\"{\"{\"# x", "         x"),
            ("br\"\\\" x b\"{\" y", "      x      y"),
            ("for\"{\"", "for   "),
            ("fn f<'a>(x: &'a u8) {", "fn f<'a>(x: &'a u8) {"),
            ("\"a\n{\" b", "  \n   b"),
            ("\"open {", "       "),
        ];
        for (text, expected) in cases {
            check("a.rs", text, expected);
        }
    }

    #[test]
    fn strings_of_typescript_are_blanked() {
        check("a.ts", "f('{', `{\n}`) {", "f(   ,   \n  ) {");
    }

    #[test]
    fn files_that_are_not_code_have_no_lines() {
        assert!(Lines::of("a.md", "x").is_none());
        assert!(Lines::of("Makefile", "x").is_none());
    }

    #[test]
    fn test_modules_are_known_from_their_attribute_to_their_last_brace() {
        let text = "a\n#[cfg(test)]\nmod tests {\n{ }\n}\nb\n#[cfg(test)]\nuse x;\nc\n";
        let lines = Lines::of("a.rs", text).expect("Rust");
        let expected = [false, true, true, true, true, false, true, true, false];
        assert_eq!(lines.is_test, expected);
    }

    #[test]
    fn item_ends_at_its_brace_or_semicolon() {
        let code = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(item_lines(&code("fn f(\nx: [u8; 4]\n) {\nif x {\n}\n}\nb"), 0), 0..6);
        assert_eq!(item_lines(&code("fn f(\n);\nfn g() {}"), 0), 0..2);
        assert_eq!(item_lines(&code("fn f() {"), 0), 0..1);
    }
}
