//! `config/every-option.toml` is what the settings' own documentation says, each at its default.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use namegate::config::Settings;
use syn::{Attribute, Expr, ExprLit, Field, Fields, Item, Lit, Meta, Type};
use toml::{Table, Value};

const HEAD: &str = "\
# Every setting at its default, and why you would change it. What a file leaves out has the value written here.
# Durations are written \"300ms\", \"6s\", \"5m\" or \"1h\", sizes \"64MiB\". Relative paths begin at the settings file.
";

/// Columns of a line.
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

/// Lines of documentation as comments: prose is wrapped anew, a block of code is an example.
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

/// `key = value`, a long list with one value on each line.
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

fn every_option() -> String {
    let structs = structs();
    let defaults: Table = Settings::default().to_toml().parse().expect("settings are TOML");
    let mut text = HEAD.to_owned();
    for section in &structs["Settings"] {
        text.push('\n');
        comment(&documentation(&section.attrs), &mut text);
        let Type::Path(kind) = &section.ty else { panic!("{} is no section", name(section)) };
        let kind = kind.path.segments.last().expect("a type").ident.to_string();
        // A section that is a list, or has names of the operator's own, has an example in place of defaults.
        let Some(fields) = structs.get(&kind) else { continue };
        let _ = writeln!(text, "[{}]", name(section));
        for field in fields {
            comment(&documentation(&field.attrs), &mut text);
            pair(&name(field), &defaults[&name(section)][&name(field)], &mut text);
        }
    }
    text
}

/// `UPDATE_DOCS=1 cargo test every_option` writes the file anew.
#[test]
fn every_option_says_what_the_settings_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/every-option.toml");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, every_option()).expect("config/every-option.toml can be written");
    }
    assert_eq!(fs::read_to_string(path).expect("config/every-option.toml"), every_option());
}
