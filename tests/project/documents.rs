//! Tests that tests, settings, commands and links named in the documentation exist. A test is named as cargo prints it,
//! a setting as `section.key`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use namegate::events::outcome::{AnswerSource, Decision};
use namegate::util::log_event::LogEvent;
use namegate::wire::reply::Transport;
use serde::Deserialize;
use strum::VariantNames;
use tempfile::TempDir;

use crate::support::command::namegate;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files below `directory` with this extension.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory of the source tree");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let found = paths.flat_map(|path| match path.is_dir() {
        true => files(&path, extension),
        false => vec![path],
    });
    found.filter(|path| path.extension().is_some_and(|own| own == extension)).collect()
}

/// All pages, each with its name.
fn pages() -> Vec<(String, String)> {
    let mut paths = files(&root().join("docs"), "md");
    paths.extend(["README.md", "ARCHITECTURE.md", "SECURITY.md"].map(|page| root().join(page)));
    paths.iter().map(|path| (path.display().to_string(), read(path))).collect()
}

/// Text in single backticks, without fenced blocks.
fn code(page: &str) -> Vec<&str> {
    let prose = page.split("```").step_by(2);
    prose.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

/// True for a test's name: a lower-case path. Types have a capital letter, functions a parenthesis.
fn is_test(code: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-:".contains(&byte);
    code.contains("::") && code.bytes().all(plain)
}

/// The module path that cargo prints for a source file.
fn module(directory: &str, path: &Path) -> String {
    let path = path.strip_prefix(root().join(directory)).expect("a file below it").with_extension("");
    let parts: Vec<&str> = path.iter().map(|part| part.to_str().expect("a name in UTF-8")).collect();
    parts.join("::").trim_end_matches("::mod").to_owned()
}

/// The tests of one source file. Its own test module comes last.
fn tests_of(source: &str, module: &str, names: &mut BTreeSet<String>) {
    let mut module = module.to_owned();
    let mut is_marked = false;
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("mod tests {") {
            module.push_str("::tests");
        }
        is_marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let name =
            line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next());
        if let Some(name) = name.filter(|_| is_marked) {
            names.insert(format!("{module}::{name}"));
            is_marked = false;
        }
    }
}

#[derive(Deserialize)]
struct Rows {
    row: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
}

/// Every test: functions in `src` and `tests`, and the rows of the tables.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for directory in ["src", "tests"] {
        for path in files(&root().join(directory), "rs") {
            tests_of(&read(&path), &module(directory, &path), &mut names);
        }
    }
    for table in ["bypass", "protocol", "rule_files"] {
        let rows: Rows =
            toml::from_str(&read(&root().join(format!("tests/data/{table}.toml")))).expect(table);
        names.extend(rows.row.iter().map(|row| format!("{table}::{}", row.name)));
    }
    names
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Every setting, as `[section]` and `section.key`, including commented-out ones.
fn settings() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut section = String::new();
    let options = read(&root().join("config/every-option.toml"));
    for line in options.lines().map(|line| line.trim_start_matches("# ")) {
        if let Some(name) =
            line.strip_prefix('[').and_then(|rest| rest.trim_start_matches('[').split(']').next())
        {
            section = name.to_owned();
            names.insert(format!("[{section}]"));
        } else if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| is_word(key)) {
            names.insert(format!("{section}.{key}"));
        }
    }
    names
}

/// `code` as a setting, if it looks like one: `[section]`, `[[section]]`, or a key of one of these sections.
fn as_setting(code: &str, sections: &BTreeSet<&str>) -> Option<String> {
    let bare = code.trim_start_matches('[').trim_end_matches(']');
    if code.starts_with('[') && code.ends_with(']') && is_word(bare) {
        return Some(format!("[{bare}]"));
    }
    let (section, key) = code.split_once('.')?;
    (sections.contains(section) && is_word(key)).then(|| code.to_owned())
}

#[test]
fn tests_that_pages_name_exist() {
    let tests = tests();
    let mut missing = Vec::new();
    let mut count = 0;
    for (path, page) in pages() {
        for name in code(&page).into_iter().filter(|code| is_test(code)) {
            count += 1;
            if !tests.contains(name) {
                missing.push(format!("{path}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "no such test:\n{}", missing.join("\n"));
    assert!(count >= 100, "{count} tests are named");
}

#[test]
fn settings_that_pages_name_exist() {
    let known = settings();
    let all = known.iter().map(String::as_str);
    let sections: BTreeSet<&str> = all.filter_map(|name| name.strip_prefix('[')?.strip_suffix(']')).collect();
    let mut unknown = Vec::new();
    let mut count = 0;
    for (path, page) in pages() {
        for name in code(&page).into_iter().filter_map(|code| as_setting(code, &sections)) {
            count += 1;
            if !known.contains(&name) {
                unknown.push(format!("{path}: {name}"));
            }
        }
    }
    assert!(unknown.is_empty(), "no such setting:\n{}", unknown.join("\n"));
    assert!(count >= 30, "{count} settings are named");
}

#[test]
fn every_row_of_past_bugs_names_its_test() {
    let page = read(&root().join("docs/elsewhere.md"));
    let is_row = |line: &&str| line.starts_with("| ") && !line.ends_with("| tested by |");
    let rows: Vec<&str> = page.lines().filter(is_row).collect();
    assert!(rows.len() >= 40, "{} rows", rows.len());
    for row in rows {
        assert!(code(row).into_iter().any(is_test), "no test named: {row}");
    }
}

/// Text in backticks in the first column of the table after this heading.
fn first_column(page: &str, head: &str) -> BTreeSet<String> {
    let (_, table) = page.split_once(&format!("\n{head}\n")).unwrap_or_else(|| panic!("no table {head}"));
    let rows = table.lines().skip(1).take_while(|line| line.starts_with("| "));
    rows.flat_map(|row| code(row.split(" | ").next().unwrap_or_default())).map(str::to_owned).collect()
}

/// Entries that `namegate COMMAND --help` lists, indented by `indent`.
fn listed(command: &[&str], head: &str, indent: &str) -> BTreeSet<String> {
    let help = namegate(root(), &[command, &["--help"]].concat()).expect_code(0).stdout;
    let (_, list) = help.split_once(&format!("{head}:\n")).unwrap_or_else(|| panic!("no {head} in {help}"));
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix(indent).filter(|rest| !rest.starts_with(' ')));
    names.filter_map(|line| line.split([' ', ':']).next()).map(str::to_owned).collect()
}

#[test]
fn every_command_has_its_row() {
    let page = read(&root().join("README.md"));
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `namegate "));
    let rows: BTreeSet<String> =
        rows.filter_map(|row| row.split([' ', '`']).next()).map(|row| row.replace(['[', ']'], "")).collect();
    let mut commands = listed(&[], "Commands", "  ");
    commands.remove("help");
    assert_eq!(rows, commands);
}

#[test]
fn every_import_and_export_has_its_row() {
    let page = read(&root().join("docs/allowlists.md"));
    let imports = first_column(&page, "| command | input | output |");
    let imports: BTreeSet<String> =
        imports.iter().filter_map(|row| row.split(' ').nth(2)).map(str::to_owned).collect();
    assert_eq!(imports, listed(&["import"], "Possible values", "          - "));
    let exports = first_column(&read(&root().join("docs/exports.md")), "| target | output |");
    assert_eq!(exports, listed(&["export"], "Possible values", "          - "));
}

#[test]
fn every_allowlist_is_named() {
    let page = read(&root().join("docs/allowlists.md"));
    let named = first_column(&page, "| allowlist | allows | parameters | broad rules | revised |");
    let stem = |path: &PathBuf| path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
    assert_eq!(named, files(&root().join("zones"), "toml").iter().filter_map(stem).collect());
    // Each is built into the program, so it is known without any file.
    let empty = TempDir::new().expect("a temporary directory");
    for name in named {
        namegate(empty.path(), &["check", "--zones", &name]).expect_code(0);
    }
}

/// The table of events in `docs/operations/logs.md`.
fn events() -> String {
    let row = |event: &LogEvent| {
        let level = match event {
            LogEvent::Query => "–".to_owned(),
            event => event.level().to_string().to_ascii_lowercase(),
        };
        format!("| `{}` | {level} | {} |\n", event.name(), event.meaning().trim())
    };
    let head = "| event | level | means, and what to do |\n|---|---|---|\n";
    head.to_owned() + &LogEvent::ALL.iter().map(row).collect::<String>()
}

/// `UPDATE_DOCS=1 cargo test documented` rewrites the table.
#[test]
fn documented_log_events_are_those_in_the_code() {
    let path = root().join("docs/operations/logs.md");
    let text = read(&path);
    let (head, rest) = text.split_once("<!-- events -->\n").expect("the mark before the table");
    let (table, tail) = rest.split_once("<!-- end of events -->\n").expect("the mark after the table");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = format!("{head}<!-- events -->\n{}<!-- end of events -->\n{tail}", events());
        fs::write(path, text).expect("the page can be written");
    } else {
        assert_eq!(table, events());
    }
    let names: BTreeSet<&str> = LogEvent::ALL.iter().map(|event| event.name()).collect();
    assert_eq!(names.len(), LogEvent::ALL.len(), "each name is used once");
}

#[test]
fn every_field_of_a_log_line_has_its_row() {
    let page = read(&root().join("docs/operations/logs.md"));
    let rows = first_column(&page, "| field | what it is |");
    let lines = read(&root().join("tests/data/interface/log.txt"));
    let mut is_query = false;
    let keys = lines.lines().filter_map(|line| {
        if !line.starts_with(' ') {
            is_query = line.starts_with("query log, ");
        }
        line.strip_prefix("  [].").filter(|_| is_query)?.split([':', '[']).next()
    });
    // Present if lookups are sampled.
    let keys: BTreeSet<String> = keys.chain(["sample"]).map(str::to_owned).collect();
    assert_eq!(rows, keys);
    for (field, values) in [
        ("decision", Decision::VARIANTS),
        ("source", AnswerSource::VARIANTS),
        ("protocol", Transport::VARIANTS),
    ] {
        let row = page.lines().find_map(|line| line.strip_prefix(&format!("| `{field}` | "))).expect(field);
        assert_eq!(code(row), values, "{field}");
    }
}

/// A page without its fenced blocks.
fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// The anchor of a heading, as GitHub and mdBook make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        _ => c.is_alphanumeric().then(|| c.to_ascii_lowercase()),
    });
    kept.collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut broken = Vec::new();
    let mut count = 0;
    let mut paths = files(&root().join("docs"), "md");
    paths.extend(
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"].map(|page| root().join(page)),
    );
    for path in &paths {
        let page = prose(&read(path));
        let links = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            count += 1;
            let (file, wanted) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            let is_there = target.exists()
                && (wanted.is_empty()
                    || prose(&read(&target))
                        .lines()
                        .filter(|line| line.starts_with('#'))
                        .any(|line| anchor(line) == wanted));
            if !is_there {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(count >= 50, "{count} links");
    let summary = read(&root().join("docs/SUMMARY.md"));
    for path in files(&root().join("docs"), "md") {
        let page = path.strip_prefix(root().join("docs")).expect("a page").display().to_string();
        assert!(page == "SUMMARY.md" || summary.contains(&format!("({page})")), "SUMMARY.md lacks {page}");
    }
}

/// The commands in fenced blocks of a page, as words, up to a pipe, a redirection or a comment.
fn commands(page: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for block in page.split("```").skip(1).step_by(2) {
        let (language, lines) = block.split_once('\n').unwrap_or_default();
        if !["sh", "console"].contains(&language) {
            continue;
        }
        for line in lines.replace("\\\n", " ").lines() {
            let words: Vec<&str> = line.trim_start_matches("$ ").split_whitespace().collect();
            let starts =
                words.iter().enumerate().filter(|(_, word)| **word == "namegate").map(|(start, _)| start);
            for start in starts.filter(|start| {
                *start == 0
                    || ["|", "sudo", "&&"].contains(&words[start - 1])
                    || words[start - 1].contains('=')
            }) {
                let ends = |word: &&&str| !["|", ">", ">>", "&&", "&", ";", "#"].contains(*word);
                commands.push(words[start + 1..].iter().take_while(ends).map(ToString::to_string).collect());
            }
        }
    }
    commands
}

#[test]
fn commands_that_pages_show_exist() {
    let mut unknown = Vec::new();
    let mut count = 0;
    for (path, page) in pages() {
        for command in commands(&page) {
            let bare = |word: &&String| {
                word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') && !word.starts_with('-')
            };
            let mut path_of: Vec<&str> = command.iter().take_while(bare).map(String::as_str).collect();
            path_of.truncate(if path_of.first() == Some(&"demo") { 2 } else { 1 });
            let help = namegate(root(), &[&path_of[..], &["--help"]].concat());
            let flags = command.iter().filter(|word| word.starts_with("--"));
            let flags: Vec<&str> = flags.filter_map(|word| word.split('=').next()).collect();
            count += 1;
            let is_known = |flag: &&str| {
                *flag == "--version"
                    || help.stdout.contains(&format!("{flag}\n"))
                    || help.stdout.contains(&format!("{flag} "))
            };
            if help.code != 0 || !flags.iter().all(is_known) {
                unknown.push(format!("{path}: namegate {}", command.join(" ")));
            }
        }
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
    assert!(count >= 10, "{count} commands");
}
