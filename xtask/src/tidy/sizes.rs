//! How long a line, a function and a file may be.

use super::lexer::{Lines, is_word, item_lines};
use super::{Complaint, File};

const LINE_COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;

/// A file may be longer where a comment line in it has this and a reason after it.
const LONG: &str = "tidy: long — ";

/// Lines of code files, comments included.
pub(super) fn line_length(file: &File, complaints: &mut Vec<Complaint>) {
    if file.lines.is_none() {
        return;
    }
    for (line, text) in file.text.lines().enumerate() {
        let columns = text.chars().count();
        if columns > LINE_COLUMNS_MAX {
            let what = format!("{columns} columns, more than {LINE_COLUMNS_MAX}");
            complaints.push(Complaint::new(file, line + 1, what));
        }
    }
}

/// From the line with the function's name to its closing brace, tests as well.
pub(super) fn function_length(file: &File, complaints: &mut Vec<Complaint>) {
    let Some(Lines { code, .. }) = &file.lines else { return };
    let keyword = if file.is_rust() { "fn" } else { "function" };
    for (line, text) in code.iter().enumerate() {
        if !names_function(text, keyword) {
            continue;
        }
        let lines = item_lines(code, line).len();
        if lines > FUNCTION_LINES_MAX {
            let what = format!("a function of {lines} lines, more than {FUNCTION_LINES_MAX}");
            complaints.push(Complaint::new(file, line + 1, what));
        }
    }
}

/// Whether a function is defined on this line; `fn(u8)` as a type has no name and is none.
fn names_function(text: &str, keyword: &str) -> bool {
    text.match_indices(keyword).any(|(at, _)| {
        let starts = !text[..at].ends_with(is_word);
        let name = text[at + keyword.len()..].strip_prefix(' ');
        starts && name.is_some_and(|name| name.trim_start().starts_with(is_word))
    })
}

/// Lines with code on them, those of `#[cfg(test)]` left out.
pub(super) fn file_length(file: &File, complaints: &mut Vec<Complaint>) {
    let Some(Lines { code, is_test }) = &file.lines else { return };
    let counts = |&(text, &is_test): &(&String, &bool)| !is_test && !text.trim().is_empty();
    let lines = code.iter().zip(is_test).filter(counts).count();
    let excused = file.text.lines().any(|line| {
        let comment = line.trim_start().strip_prefix("//").unwrap_or_default();
        let reason = comment.split_once(LONG).unwrap_or_default().1;
        !reason.trim().is_empty()
    });
    if lines > FILE_LINES_MAX && !excused {
        let what = format!(
            "{lines} lines of code, more than {FILE_LINES_MAX}: split it, or say why not in a \
             comment `{LONG}reason`"
        );
        complaints.push(Complaint::new(file, 0, what));
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn line_over_100_columns_is_found() {
        let at_limit = "é".repeat(100);
        check(line_length, "a.rs", &format!("//!\n{at_limit}\n"), &[]);
        check(line_length, "a.rs", &format!("//!\n{at_limit}x\n"), &[2]);
        check(line_length, "a.vue", &format!("{at_limit}x\n"), &[1]);
        check(line_length, "a.md", &format!("{at_limit}x\n"), &[]);
    }

    #[test]
    fn function_over_70_lines_is_found_wherever_it_is() {
        let body = |lines: usize| "    f(\"}\"); // }\n".repeat(lines);
        check(function_length, "a.rs", &format!("fn f() {{\n{}}}\n", body(68)), &[]);
        check(function_length, "a.rs", &format!("//!\nfn f() {{\n{}}}\n", body(69)), &[2]);
        let test = format!("#[cfg(test)]\nmod tests {{\nfn f() {{\n{}}}\n}}\n", body(69));
        check(function_length, "a.rs", &test, &[3]);
        let method = format!("impl A {{\npub(crate) const fn f(&self) {{\n{}}}\n}}", body(69));
        check(function_length, "a.rs", &method, &[2]);
        check(function_length, "a.ts", &format!("function f() {{\n{}}}\n", body(69)), &[1]);
    }

    #[test]
    fn function_type_is_no_function() {
        check(
            function_length,
            "a.rs",
            &format!("struct A {{\n{}}}", "f: fn(u8),\n".repeat(80)),
            &[],
        );
        assert!(!names_function("type A = fn (u8);", "fn"));
        assert!(!names_function("my_fn x", "fn"));
        assert!(names_function("unsafe extern \"C\" fn x()", "fn"));
    }

    #[test]
    fn file_over_500_lines_of_code_is_found() {
        let code = |lines: usize| "f();\n".repeat(lines);
        let tests = "#[cfg(test)]\nmod tests {\nf();\n}\n";
        let comments = "// c\n\n/// c\n".repeat(100);
        check(file_length, "a.rs", &format!("{}{comments}{tests}", code(500)), &[]);
        check(file_length, "a.rs", &code(501), &[0]);
        check(file_length, "tests/a.rs", &code(501), &[0]);
        check(file_length, "a.ts", &code(501), &[0]);
    }

    #[test]
    fn long_file_is_excused_by_a_reason_only() {
        let code = "f();\n".repeat(501);
        check(file_length, "a.rs", &format!("// {LONG}one table.\n{code}"), &[]);
        check(file_length, "a.rs", &format!("// {LONG}\n{code}"), &[0]);
        check(file_length, "a.rs", &format!("f(\"{LONG}text\");\n{code}"), &[0]);
    }
}
