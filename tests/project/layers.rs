//! Tests the layers of `src`: modules use only the rooms that the table in ARCHITECTURE.md allows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Item, UseTree, Visibility};

/// A module: its file, and what its names refer to.
#[derive(Debug, Default)]
struct Module {
    file: String,
    defined: BTreeSet<String>,
    /// Names imported by `use`, with the path each refers to.
    imported: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
}

/// The names in the source of one crate.
#[derive(Debug, Default)]
struct Source {
    /// By path: `policy::trie`; the root is empty.
    modules: BTreeMap<Vec<String>, Module>,
    /// Paths that a module mentions: the module's path, and a path in the crate or relative to it.
    said: Vec<(Vec<String>, Vec<String>)>,
    /// Types visible outside their file, with the files that define a type of that name.
    types: BTreeMap<String, BTreeSet<String>>,
}

/// A file that uses another one.
type Edges = BTreeMap<String, BTreeSet<String>>;

impl Source {
    /// The crate in `directory`.
    fn of(directory: &Path) -> Self {
        let mut files = Vec::new();
        find(directory, directory, &mut files);
        Self::of_files(files)
    }

    /// A crate of these files, each with its path below `src` and its text.
    fn of_files(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut source = Self::default();
        for (file, text) in files {
            let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
            source.add(&file, module_of(&file), &parsed.items);
        }
        source
    }

    fn add(&mut self, file: &str, path: Vec<String>, items: &[Item]) {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        for item in items {
            let named = match item {
                Item::Struct(item) => Some((&item.ident, &item.vis)),
                Item::Enum(item) => Some((&item.ident, &item.vis)),
                Item::Trait(item) => Some((&item.ident, &item.vis)),
                Item::Type(item) => Some((&item.ident, &item.vis)),
                Item::Union(item) => Some((&item.ident, &item.vis)),
                Item::Use(item) => {
                    for Import { said, here } in imports(&item.tree, &[]) {
                        self.said.push((path.clone(), said.clone()));
                        match here {
                            Some(here) => drop(module.imported.insert(here, said)),
                            None => module.globs.push(said),
                        }
                    }
                    None
                }
                Item::Mod(item) => {
                    if let Some((_, items)) = &item.content {
                        // Nothing uses tests, so they close no cycle.
                        let file = match is_test(item) {
                            true => format!("{file} (tests)"),
                            false => file.to_owned(),
                        };
                        self.add(&file, [&path[..], &[item.ident.to_string()]].concat(), items);
                    }
                    None
                }
                Item::Fn(item) => insert(&mut module, &item.sig.ident),
                Item::Const(item) => insert(&mut module, &item.ident),
                Item::Static(item) => insert(&mut module, &item.ident),
                Item::Macro(item) => item.ident.as_ref().and_then(|ident| insert(&mut module, ident)),
                _ => None,
            };
            if let Some((ident, visibility)) = named {
                module.defined.insert(ident.to_string());
                if !matches!(visibility, Visibility::Inherited) {
                    self.types.entry(ident.to_string()).or_default().insert(file.to_owned());
                }
            }
            if !matches!(item, Item::Use(_) | Item::Mod(_)) {
                let mut paths = Paths::default();
                paths.visit_item(item);
                self.said.extend(paths.0.into_iter().map(|said| (path.clone(), said)));
            }
        }
        self.modules.insert(path, module);
    }

    /// The file that defines `said` in the module at `path`; `None` for other crates and for functions.
    fn file_of(&self, path: &[String], said: &[String], patience: u8) -> Option<&str> {
        let patience = patience.checked_sub(1)?;
        let (first, rest) = said.split_first()?;
        match first.as_str() {
            "crate" => self.file_below(&[], rest, patience),
            "self" => self.file_below(path, rest, patience),
            "super" => {
                let parent = &path[..path.len().checked_sub(1)?];
                match rest.first().is_some_and(|next| next == "super") {
                    true => self.file_of(parent, rest, patience),
                    false => self.file_below(parent, rest, patience),
                }
            }
            _ => {
                let module = self.modules.get(path)?;
                let is_here = self.modules.contains_key(&[path, &said[..1]].concat())
                    || module.imported.get(first).is_some_and(|import| import != said);
                is_here.then(|| self.file_below(path, said, patience))?
            }
        }
    }

    /// The file that defines `rest`, seen from the module at `path`.
    fn file_below(&self, path: &[String], rest: &[String], patience: u8) -> Option<&str> {
        let patience = patience.checked_sub(1)?;
        let module = self.modules.get(path)?;
        let Some((name, after)) = rest.split_first() else { return Some(&module.file) };
        let child = [path, &rest[..1]].concat();
        if self.modules.contains_key(&child) {
            return self.file_below(&child, after, patience);
        }
        if module.defined.contains(name) {
            return Some(&module.file);
        }
        if let Some(import) = module.imported.get(name) {
            let whole = [&import[..], after].concat();
            return self.file_of(path, &whole, patience);
        }
        module.globs.iter().find_map(|glob| {
            let whole = [&glob[..], rest].concat();
            self.file_of(path, &whole, patience)
        })
    }

    /// Every file with the files it uses, except itself.
    fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (path, said) in &self.said {
            let from = &self.modules[path].file;
            // A test uses its own file.
            let is_other = |to: &&str| to != from && from.strip_suffix(" (tests)") != Some(to);
            if let Some(to) = self.file_of(path, said, 32).filter(is_other) {
                edges.entry(from.clone()).or_default().insert(to.to_owned());
            }
        }
        edges
    }
}

fn is_test(module: &syn::ItemMod) -> bool {
    module.attrs.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

fn insert(
    module: &mut Module,
    ident: &proc_macro2::Ident,
) -> Option<(&'static syn::Ident, &'static Visibility)> {
    module.defined.insert(ident.to_string());
    None
}

fn find(root: &Path, directory: &Path, files: &mut Vec<(String, String)>) {
    for entry in
        fs::read_dir(directory).expect("a directory of the source").map(|entry| entry.expect("an entry"))
    {
        let path = entry.path();
        match path.is_dir() {
            true => find(root, &path, files),
            false if path.extension().is_some_and(|extension| extension == "rs") => {
                let text = fs::read_to_string(&path).expect("a source file");
                let below = path.strip_prefix(root).expect("it is below the root");
                files.push((below.to_str().expect("a path in UTF-8").to_owned(), text));
            }
            false => {}
        }
    }
}

/// The path of a file's module.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    match path {
        "lib" => Vec::new(),
        _ => path.split('/').map(str::to_owned).collect(),
    }
}

/// The room that a file is in.
fn room_of(file: &str) -> &str {
    let file = file.trim_end_matches(" (tests)");
    let first = file.split('/').next().unwrap_or(file).trim_end_matches(".rs");
    let second = file.split('/').nth(1).map(|second| second.trim_end_matches(".rs"));
    match (first, second) {
        // Tools do not use each other.
        ("tools", Some(tool)) if tool != "mod" => tool,
        _ => first,
    }
}

/// Paths that begin with a keyword for a place in this crate, and all others, which may begin with a name in scope.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.take_tokens(item.tokens.clone());
        syn::visit::visit_macro(self, item);
    }

    /// `pub(crate)` uses nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.0.extend(imports(&item.tree, &[]).into_iter().map(|import| import.said));
    }
}

impl Paths {
    /// Paths in a macro's arguments.
    fn take_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 && !path.is_empty() {
                        self.0.push(std::mem::take(&mut path));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.0.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.take_tokens(group.stream());
                    }
                }
            }
        }
        self.0.extend((!path.is_empty()).then_some(path));
    }
}

/// One import of a `use`: a path and its name in the module; no name for a glob.
struct Import {
    said: Vec<String>,
    here: Option<String>,
}

/// Everything that `tree` imports, relative to the path `before`.
fn imports(tree: &UseTree, before: &[String]) -> Vec<Import> {
    let (name, here) = match tree {
        UseTree::Path(path) => return imports(&path.tree, &[before, &[path.ident.to_string()]].concat()),
        UseTree::Group(group) => return group.items.iter().flat_map(|tree| imports(tree, before)).collect(),
        UseTree::Glob(_) => return vec![Import { said: before.to_vec(), here: None }],
        UseTree::Name(tree) => (tree.ident.to_string(), None),
        UseTree::Rename(tree) => (tree.ident.to_string(), Some(tree.rename.to_string())),
    };
    let said = match name == "self" {
        true => before.to_vec(),
        false => [before, &[name]].concat(),
    };
    let here = here.or_else(|| said.last().cloned());
    vec![Import { said, here }]
}

/// The rooms from top to bottom, each with those it may use.
type Rooms = Vec<(String, BTreeSet<String>)>;

/// Reads the table between the marks in ARCHITECTURE.md.
fn rooms(page: &str) -> Rooms {
    let table =
        page.split("<!-- rooms -->").nth(1).and_then(|rest| rest.split("<!-- end of rooms -->").next());
    let rows = table.expect("the marks around the table").lines().filter(|line| line.starts_with("| `"));
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        (names(cells[1]).remove(0), names(cells[2]).into_iter().collect())
    })
    .collect()
}

/// Violations of the table: uses of a room that is not listed, and rows that list a room that is not below.
fn upward(edges: &Edges, rooms: &Rooms) -> Vec<String> {
    let mut found = Vec::new();
    for (place, (room, below)) in rooms.iter().enumerate() {
        for used in below {
            if !rooms[place + 1..].iter().any(|(lower, _)| lower == used) {
                found.push(format!("the table: {room} may use {used}, which is not below it"));
            }
        }
    }
    for (from, all) in edges {
        for to in all.iter().filter(|to| room_of(to) != room_of(from)) {
            match rooms.iter().find(|(room, _)| room == room_of(from)) {
                Some((_, below)) if below.contains(room_of(to)) => {}
                Some(_) => {
                    found.push(format!("{from} uses {to}: {} may not use {}", room_of(from), room_of(to)));
                }
                None => found.push(format!("{from} is in no room of the table")),
            }
        }
    }
    found
}

/// Cycles of files; a child may use its own `mod.rs`.
fn circles(edges: &Edges) -> Vec<BTreeSet<String>> {
    let is_parent = |from: &str, to: &str| {
        to.strip_suffix("mod.rs").is_some_and(|directory| {
            from.strip_prefix(directory)
                .is_some_and(|below| below.split('/').filter(|part| *part != "mod.rs").count() == 1)
        }) || to.strip_suffix(".rs").is_some_and(|directory| from.starts_with(&format!("{directory}/")))
    };
    let next = |file: &str| {
        let from = file.to_owned();
        edges.get(file).into_iter().flatten().filter(move |to| !is_parent(&from, to))
    };
    let reached = |start: &str| {
        let (mut seen, mut stack) = (BTreeSet::new(), vec![start.to_owned()]);
        while let Some(file) = stack.pop() {
            for to in next(&file) {
                if seen.insert(to.clone()) {
                    stack.push(to.clone());
                }
            }
        }
        seen
    };
    let reach: BTreeMap<&String, BTreeSet<String>> = edges.keys().map(|file| (file, reached(file))).collect();
    let mut found = BTreeSet::new();
    for (file, seen) in reach.iter().filter(|(file, seen)| seen.contains(**file)) {
        let circle = seen.iter().filter(|to| reach.get(to).is_some_and(|back| back.contains(*file)));
        found.insert(circle.cloned().collect::<BTreeSet<String>>());
    }
    found.into_iter().collect()
}

/// Names that several files give to types visible outside.
fn repeated(source: &Source) -> Vec<String> {
    let all_in = |files: &BTreeSet<String>, room: &str| files.iter().all(|file| file.starts_with(room));
    // Each command has its own `Arguments`; of the batches, one per platform is compiled.
    let is_free = |name: &str, files: &BTreeSet<String>| {
        name == "Arguments" && all_in(files, "cli/") || name.ends_with("Batch") && all_in(files, "net/batch/")
    };
    let repeated = source.types.iter().filter(|(name, files)| files.len() > 1 && !is_free(name, files));
    repeated
        .map(|(name, files)| format!("{name}: {}", files.iter().cloned().collect::<Vec<_>>().join(", ")))
        .collect()
}

fn listed<T: std::fmt::Debug>(all: &[T]) -> String {
    all.iter().fold(String::new(), |mut out, one| {
        let _ = writeln!(out, "{one:?}");
        out
    })
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn crate_of(files: &[(&str, &str)]) -> Source {
    Source::of_files(files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())))
}

#[test]
fn rooms_use_only_the_rooms_listed_for_them() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let (source, rooms) = (Source::of(&root().join("src")), rooms(&page));
    let found = upward(&source.edges(), &rooms);
    assert!(found.is_empty(), "{}", listed(&found));
    let has_files = |room: &str| source.modules.values().any(|module| room_of(&module.file) == room);
    for (room, _) in &rooms {
        assert!(has_files(room), "no file is in the room {room} of the table");
    }
}

#[test]
fn files_use_each_other_in_no_circle() {
    let found = circles(&Source::of(&root().join("src")).edges());
    assert!(found.is_empty(), "{}", listed(&found));
}

#[test]
fn type_names_are_unique() {
    let found = repeated(&Source::of(&root().join("src")));
    assert!(found.is_empty(), "{}", listed(&found));
}

const TABLE: &str = "<!-- rooms -->\n| room | uses |\n| `top` | `middle`, `low` |\n| `middle` | `low` |\n| `low` | |\n<!-- end of rooms -->";

/// Each row is a crate with one violation, and the finding it must cause.
#[test]
fn planted_violations_are_found() {
    let usual = [
        ("lib.rs", "pub mod top; pub mod middle; pub mod low;"),
        ("top.rs", "use crate::middle::Thing; use crate::low::deep::Deep; pub struct Top(Thing, Deep);"),
        ("middle.rs", "pub use crate::low::Thing; pub fn act() {}"),
        ("low/mod.rs", "pub mod deep; pub mod flat; use deep::Deep; pub struct Thing(Deep);"),
        ("low/deep.rs", "pub struct Deep;"),
        ("low/flat.rs", "use super::Thing; pub struct Flat(Thing);"),
    ];
    let (table, planted) = (rooms(TABLE), |file: &str, text: &'static str| {
        let files: Vec<(&str, &str)> =
            usual.iter().map(|(name, usual)| (*name, if *name == file { text } else { usual })).collect();
        crate_of(&files)
    });
    let sound = planted("", "");
    assert_eq!(
        sound.edges()["top.rs"].iter().collect::<Vec<_>>(),
        ["low/deep.rs", "low/mod.rs"],
        "re-exports are followed"
    );
    assert_eq!(
        (upward(&sound.edges(), &table), circles(&sound.edges()), repeated(&sound)),
        (vec![], vec![], vec![])
    );
    for (case, text) in [
        ("a use", "use crate::middle::act; pub struct Deep;"),
        ("a use relative to the file", "use super::super::middle::act; pub struct Deep;"),
        ("a group", "use crate::{middle::{act}, low}; pub struct Deep;"),
        ("an inline path", "pub struct Deep; fn f() { crate::middle::act() }"),
        ("a path in a macro", "pub struct Deep; fn f() { vec![1, crate::middle::act()]; }"),
        ("a use in a function", "pub struct Deep; fn f() { use crate::middle::act; act() }"),
        ("a module that is named and used", "use crate::middle; pub struct Deep; fn f() { middle::act() }"),
        ("a test's", "pub struct Deep; mod tests { use crate::middle::act; }"),
    ] {
        let found = upward(&planted("low/deep.rs", text).edges(), &table);
        assert_eq!(found, ["low/deep.rs uses middle.rs: low may not use middle"], "{case}");
    }
    let found = circles(&planted("low/deep.rs", "use super::flat::Flat; pub struct Deep;").edges());
    assert_eq!(found.len(), 0, "through the parent, which is excepted: {found:?}");
    let found = circles(&planted("low/flat.rs", "use super::deep::Deep; pub struct Flat;").edges());
    assert_eq!(found.len(), 0, "{found:?}");
    let found = circles(&planted("low/deep.rs", "use crate::top::Top; pub struct Deep;").edges());
    assert_eq!(found.len(), 1, "{found:?}");
    let found = repeated(&planted("middle.rs", "pub struct Thing;"));
    assert_eq!(found, ["Thing: low/mod.rs, middle.rs"]);
}
