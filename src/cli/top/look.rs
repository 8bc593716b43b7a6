//! [`Look`]: what the terminal can show.

use std::io::IsTerminal;

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::bar::{NINE_LEVELS, Set};

/// Bars for terminals without Unicode.
const ASCII_LEVELS: Set<'static> = Set {
    full: "#",
    seven_eighths: "#",
    three_quarters: "*",
    five_eighths: "+",
    half: "=",
    three_eighths: "-",
    one_quarter: ":",
    one_eighth: ".",
    empty: " ",
};

/// What the terminal can show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) colors: bool,
    pub(super) unicode: bool,
}

/// The meaning of a text, which decides its colour.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tone {
    Title,
    Good,
    /// Neither good nor bad.
    Plain,
    Bad,
    Failure,
    Alarm,
    Other,
    Faint,
}

impl Look {
    /// From the environment: `NO_COLOR` (no-color.org) and the locale's character set.
    pub(super) fn of_environment() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        Self {
            colors: set("NO_COLOR").is_none(),
            unicode: locale.ends_with("utf-8") || locale.ends_with("utf8"),
        }
    }

    pub(super) fn bars(self) -> Set<'static> {
        if self.unicode { NINE_LEVELS } else { ASCII_LEVELS }
    }

    /// Without colours, weight still distinguishes the tones.
    pub(super) fn style(self, tone: Tone) -> Style {
        let (color, modifier) = match tone {
            Tone::Title => (Color::Cyan, Modifier::BOLD),
            Tone::Good => (Color::Green, Modifier::empty()),
            Tone::Plain => (Color::Reset, Modifier::empty()),
            Tone::Bad => (Color::Red, Modifier::BOLD),
            Tone::Failure => (Color::Red, Modifier::BOLD.union(Modifier::REVERSED)),
            Tone::Alarm => (Color::Yellow, Modifier::BOLD.union(Modifier::REVERSED)),
            Tone::Other => (Color::Blue, Modifier::empty()),
            Tone::Faint => (Color::Reset, Modifier::DIM),
        };
        let style = Style::new().add_modifier(modifier);
        if self.colors { style.fg(color) } else { style }
    }
}

/// True where the live view can be shown: a terminal that can move its cursor.
pub(super) fn is_screen() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    std::io::stdout().is_terminal() && !dumb
}
