//! [`Editions`]: the pages that an allowlist's rules refer to.

use toml::Spanned;
use toml::value::{Date, Datetime};

use crate::allowlist::zone::Edition;
use crate::diagnostics::{Section, ValueError};

/// The editions read so far, in the order of the file.
#[derive(Default)]
pub(super) struct Editions(Vec<Edition>);

impl Editions {
    /// Reads one `[[edition]]`.
    pub(super) fn read(&mut self, mut section: Section<'_, '_>) {
        let id = section.required("id", id);
        let page = section.required("page", text);
        let file = section.field("file").map(Spanned::into_inner);
        let date = date(&mut section, "date");
        let commit = section.parsed("commit", commit).map(Spanned::into_inner);
        let superseded = section.or("superseded", false);
        if let Some(id) = &id
            && self.find(id.get_ref()).is_some()
        {
            let message = format!("`edition.id`: another edition has the id `{}`", id.get_ref());
            section.faults.error(&id.span(), message, "use another id".to_owned());
        }
        section.finish();
        if let (Some(id), Some(page)) = (id, page) {
            let (id, page) = (id.into_inner(), page.into_inner());
            self.0.push(Edition { id, page, file, date, commit, superseded });
        }
    }

    /// Reads `listed`: ids of editions above, or dates.
    pub(super) fn listed(&self, section: &mut Section<'_, '_>) -> Vec<String> {
        let known = |text: &str| match self.find(text).is_some() || is_date(text) {
            true => Ok(text.to_owned()),
            false => Err(ValueError::new(
                format!("no [[edition]] above has the id `{}`", text.escape_debug()),
                "add the edition before this rule, or write a date such as `2026-03-19`",
            )),
        };
        section.list("listed", known).unwrap_or_default().into_iter().map(Spanned::into_inner).collect()
    }

    fn find(&self, id: &str) -> Option<&Edition> {
        self.0.iter().find(|edition| edition.id == id)
    }

    /// The newest date of an edition that no later one has replaced.
    pub(super) fn newest(&self) -> Option<Date> {
        self.current().filter_map(|edition| edition.date).max()
    }

    /// The titles of the pages, each once.
    pub(super) fn pages(&self) -> String {
        let mut pages: Vec<&str> = Vec::new();
        for edition in self.current() {
            if !pages.contains(&edition.page.as_str()) {
                pages.push(&edition.page);
            }
        }
        pages.join("; ")
    }

    fn current(&self) -> impl Iterator<Item = &Edition> {
        self.0.iter().filter(|edition| !edition.superseded)
    }

    pub(super) fn into_list(self) -> Vec<Edition> {
        self.0
    }
}

/// A date without a time.
pub(super) fn date(section: &mut Section<'_, '_>, key: &'static str) -> Option<Date> {
    let (datetime, span) = section.field::<Datetime>(key).map(|at| (*at.get_ref(), at.span()))?;
    if datetime.time.is_some() {
        let message = format!("`{}`: expected a date without a time", section.path(key));
        section.faults.error(&span, message, "write only the date, such as `2026-03-19`".to_owned());
    }
    datetime.date
}

fn is_date(text: &str) -> bool {
    text.parse::<Datetime>().is_ok_and(|datetime| datetime.date.is_some() && datetime.time.is_none())
}

fn id(text: &str) -> Result<String, ValueError> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match !text.is_empty() && text.bytes().all(is_plain) && !is_date(text) {
        true => Ok(text.to_owned()),
        false => {
            let message = format!("invalid id `{}`", text.escape_debug());
            Err(ValueError::new(message, "use only `a` to `z`, digits and `-`, such as `firewall-2026`"))
        }
    }
}

fn text(text: &str) -> Result<String, ValueError> {
    match text.trim() {
        "" => Err(ValueError::new("the text is empty", "write the title of the page")),
        text => Ok(text.to_owned()),
    }
}

fn commit(text: &str) -> Result<String, ValueError> {
    match (7..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text.to_owned()),
        false => {
            let message = format!("invalid commit `{}`", text.escape_debug());
            Err(ValueError::new(message, "write 7 to 40 hexadecimal digits"))
        }
    }
}
