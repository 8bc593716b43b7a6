//! Tests that `config/every-option.toml` and `docs/settings.md` list every setting with its default and doc comment.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use namegate::config::Settings;
use syn::{Attribute, Expr, ExprLit, Field, Fields, Item, Lit, Meta, Type};
use toml::{Table, Value};

const HEAD: &str = "\
# All settings at their defaults, and when to change them. A setting that is left out has the value shown here.
# Write durations as \"300ms\", \"6s\", \"5m\", \"1h\" or \"1d\", or combined as \"1m 30s\"; write sizes as \"64MiB\".
# Relative paths are relative to the directory of the settings file.
";

const PAGE_HEAD: &str = "\
# Settings

Every setting with its default and when to change it, for operators. [`config/every-option.toml`](../config/every-option.toml) has the
same as a file. A setting that is left out has the default.

- Write durations as `300ms`, `6s`, `5m`, `1h` or `1d`, or combined as `1m 30s`. Write sizes as `64MiB`.
- Relative paths are relative to the directory of the settings file.

namegate reads the file named with `--config` or in `NAMEGATE_CONFIG`, else `/etc/namegate/namegate.toml`, else its built-in settings.
An option on the command line takes precedence over an environment variable, and that over the file: `--listen` (`NAMEGATE_LISTEN`),
`--upstream` (`NAMEGATE_UPSTREAM`), `--admin` (`NAMEGATE_ADMIN`), `--mode` (`NAMEGATE_MODE`), `--zones` (`NAMEGATE_ZONES`). An empty variable counts
as unset. `namegate check` validates the settings, `namegate config` prints those in force with the source of each value. A file
that changes is reloaded (`server.watch`).
";

/// Line width in columns.
const WIDTH: usize = 120;

/// The structs of `src/config`, by name, with their fields.
fn structs() -> BTreeMap<String, Vec<Field>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let mut structs = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("src/config") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            continue;
        }
        let file = syn::parse_file(&fs::read_to_string(&path).expect("a source file")).expect("Rust");
        for item in file.items {
            if let Item::Struct(item) = item
                && let Fields::Named(fields) = item.fields
            {
                structs.insert(item.ident.to_string(), fields.named.into_iter().collect());
            }
        }
    }
    structs
}

/// The lines of a documentation comment.
fn documentation(attributes: &[Attribute]) -> Vec<String> {
    let line = |attribute: &Attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
                let text = text.value();
                Some(text.strip_prefix(' ').unwrap_or(&text).to_owned())
            }
            _ => None,
        },
        _ => None,
    };
    attributes.iter().filter_map(line).collect()
}

/// Doc lines as comments: prose is rewrapped, a code block is an example.
fn comment(lines: &[String], out: &mut String) {
    let mut in_code = false;
    let mut prose = String::new();
    for line in lines {
        match line.trim_start().starts_with("```") {
            true => in_code = !in_code,
            false if in_code => {
                let _ = writeln!(out, "{}", format!("# {line}").trim_end());
            }
            false if line.is_empty() => wrap(&std::mem::take(&mut prose), out),
            false => {
                prose.push_str(line);
                prose.push(' ');
            }
        }
    }
    wrap(&prose, out);
}

fn wrap(prose: &str, out: &mut String) {
    let mut line = String::new();
    for word in prose.split_whitespace() {
        if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(out, "{line}");
            line.clear();
        }
        line.push_str(if line.is_empty() { "# " } else { " " });
        line.push_str(word);
    }
    if !line.is_empty() {
        let _ = writeln!(out, "{line}");
    }
}

/// `key = value`; a long list has one value per line.
fn pair(key: &str, value: &Value, out: &mut String) {
    let line = format!("{key} = {value}");
    match value {
        Value::Array(values) if line.len() > WIDTH => {
            let _ = writeln!(out, "{key} = [");
            for value in values {
                let _ = writeln!(out, "    {value},");
            }
            let _ = writeln!(out, "]");
        }
        _ => {
            let _ = writeln!(out, "{line}");
        }
    }
}

fn name(field: &Field) -> String {
    field.ident.as_ref().expect("a named field").to_string()
}

/// A section of the settings with its keys; a list, or a section with names of the operator's own, has an example in place
/// of keys.
struct Section {
    name: String,
    documentation: Vec<String>,
    keys: Option<Vec<Key>>,
}

struct Key {
    name: String,
    documentation: Vec<String>,
    default: Value,
}

fn sections() -> Vec<Section> {
    let structs = structs();
    let defaults: Table = Settings::default().to_toml().parse().expect("settings are TOML");
    let section = |section: &Field| {
        let section_name = name(section);
        let Type::Path(kind) = &section.ty else { panic!("{section_name} is not a section") };
        let kind = kind.path.segments.last().expect("a type").ident.to_string();
        let key = |field: &Field| Key {
            name: name(field),
            documentation: documentation(&field.attrs),
            default: defaults[&section_name][&name(field)].clone(),
        };
        let keys = structs.get(&kind).map(|fields| fields.iter().map(key).collect());
        Section { documentation: documentation(&section.attrs), keys, name: section_name }
    };
    structs["Settings"].iter().map(section).collect()
}

fn every_option() -> String {
    let mut text = HEAD.to_owned();
    for section in sections() {
        text.push('\n');
        comment(&section.documentation, &mut text);
        let Some(keys) = section.keys else { continue };
        let _ = writeln!(text, "[{}]", section.name);
        for key in keys {
            comment(&key.documentation, &mut text);
            pair(&key.name, &key.default, &mut text);
        }
    }
    text
}

/// Documentation as Markdown; a block of code without a language is TOML.
fn markdown(lines: &[String], out: &mut String) {
    let mut in_code = false;
    for line in lines {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        let line = if fence && in_code { "```toml" } else { line.trim_end() };
        let _ = writeln!(out, "{line}");
    }
    out.push('\n');
}

fn page() -> String {
    let mut text = PAGE_HEAD.to_owned();
    for section in sections() {
        let Some(keys) = section.keys else {
            let _ = writeln!(text, "\n## {}\n", section.name);
            markdown(&section.documentation, &mut text);
            continue;
        };
        let _ = writeln!(text, "\n## [{}]\n", section.name);
        markdown(&section.documentation, &mut text);
        for key in keys {
            let _ = writeln!(text, "### {}.{}\n", section.name, key.name);
            let mut default = String::new();
            pair(&key.name, &key.default, &mut default);
            let _ = writeln!(text, "```toml\n{default}```\n");
            markdown(&key.documentation, &mut text);
        }
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut text = lines.join("\n").replace("\n\n\n", "\n\n");
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// Rewrites or compares a generated file.
fn hold(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, text).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    assert_eq!(fs::read_to_string(path).expect(file), text, "{file}");
}

/// `UPDATE_DOCS=1 cargo test every_option` rewrites both files.
#[test]
fn every_option_says_what_the_settings_say() {
    hold("config/every-option.toml", &every_option());
    hold("docs/settings.md", &page());
}
