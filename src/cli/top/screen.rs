//! [`Screen`]: the live view drawn for any size from one snapshot.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Position, Rect, Size};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Sparkline, Table, Widget};

use super::look::{Look, Tone};
use super::quantity::{bytes, count, cut, minute, percent, rate, seconds, time_of_day};
use super::snapshot::TopSnapshot;
use crate::api::pages::{CountJson, LookupJson, ProblemJson, StatusJson, UpstreamJson};

/// Upstreams shown at most.
const UPSTREAMS: usize = 6;
/// Problems shown at most.
const PROBLEMS: usize = 5;
/// Lines below the cache that problems leave: two lists, each with a title and a line.
const ROOM_FOR_LISTS: usize = 5;
/// Columns of a client's list, with its title.
const CLIENTS: u16 = 34;

/// Smallest layout. On a smaller screen, only its top left corner is visible.
const LEAST: Size = Size::new(76, 18);

/// The data to show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen<'a> {
    pub(super) url: &'a str,
    /// The last snapshot that was read.
    pub(super) snapshot: &'a TopSnapshot,
    /// Why the last read failed.
    pub(super) trouble: Option<&'a str>,
    pub(super) paused: bool,
    pub(super) look: Look,
}

impl Widget for Screen<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        if area.width >= LEAST.width && area.height >= LEAST.height {
            return self.lay_out(area, buffer);
        }
        let whole = Rect::new(0, 0, area.width.max(LEAST.width), area.height.max(LEAST.height));
        let mut drawn = Buffer::empty(whole);
        self.lay_out(whole, &mut drawn);
        for (x, y) in area.positions().map(Position::into) {
            buffer[(x, y)] = drawn[(x - area.x, y - area.y)].clone();
        }
    }
}

impl Screen<'_> {
    fn lay_out(&self, area: Rect, buffer: &mut Buffer) {
        let TopSnapshot { status, top, recent } = self.snapshot;
        let upstreams = status.upstreams.len().min(UPSTREAMS);
        let most = top.names.len().max(top.clients.len()).max(1);
        let room = usize::from(area.height).saturating_sub(10 + upstreams);
        // On the smallest screen, with six upstreams, one line is left for problems.
        let problems = status.problems.len().min(PROBLEMS).min(room.saturating_sub(ROOM_FOR_LISTS).max(1));
        // Two lists, each with a title, share the remaining lines; the newest lookups get the larger half.
        let most = most.min(room.saturating_sub(2 + problems) / 2);
        let [head, wrong, queries, servers, cache, lists, tail, foot] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(problems as u16),
            Constraint::Length(5),
            Constraint::Length(1 + upstreams as u16),
            Constraint::Length(1),
            Constraint::Length(1 + most as u16),
            Constraint::Fill(1),
            Constraint::Length(1),
        ])
        .areas(area);
        self.head(head, buffer);
        self.problems(wrong, buffer);
        self.queries(queries, buffer);
        self.servers(servers, buffer);
        self.cache(cache, buffer);
        let [names, clients] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(CLIENTS)]).areas(lists);
        let window = seconds(Some(top.window_seconds as f64));
        self.counts(&format!("MOST BLOCKED NAMES, LAST {window}"), &top.names, names, buffer);
        self.counts("CLIENTS MOST OFTEN BLOCKED", &top.clients, clients, buffer);
        self.tail(&recent.lookups, tail, buffer);
        self.foot(foot, buffer);
    }

    fn head(&self, area: Rect, buffer: &mut Buffer) {
        let StatusJson { version, uptime_seconds, policy, .. } = &self.snapshot.status;
        let [name, mode] = Layout::vertical([Constraint::Length(1); 2]).areas(area);
        let title = format!(" namegate {version}  {}", self.url);
        let uptime = format!("up {} ", seconds(Some(*uptime_seconds)));
        let bar = self.look.style(Tone::Title).reversed();
        Line::styled(fill(&title, &uptime, name.width), bar).render(name, buffer);
        let about = format!(
            "policy {}  {} rules  loaded {}",
            policy.hash,
            count(policy.rules as u64),
            minute(&policy.loaded)
        );
        let (word, tone) = match policy.mode.as_str() {
            "observe" => (" OBSERVE MODE: NOT ENFORCING ".to_owned(), Tone::Alarm),
            mode => (format!(" {mode} "), self.good()),
        };
        let spans = [Span::styled(word, self.look.style(tone)), Span::raw(format!(" {about}"))];
        Line::from_iter(spans).render(mode, buffer);
    }

    /// The tone of what is well. Nothing looks well while there is an error.
    fn good(&self) -> Tone {
        let is_wrong = |problem: &ProblemJson| problem.severity == "error";
        if self.snapshot.status.problems.iter().any(is_wrong) { Tone::Plain } else { Tone::Good }
    }

    fn problems(&self, area: Rect, buffer: &mut Buffer) {
        let problems = &self.snapshot.status.problems;
        let hidden = problems.len().saturating_sub(area.height.into());
        for (index, (row, problem)) in area.rows().zip(problems).enumerate() {
            let tone = if problem.severity == "error" { Tone::Failure } else { Tone::Alarm };
            let is_last = index + 1 == usize::from(area.height);
            let more = if is_last && hidden > 0 { format!(" and {hidden} more ") } else { String::new() };
            let room = usize::from(row.width).saturating_sub(more.len() + 1);
            let text = format!(" {}: {}", problem.severity.to_uppercase(), problem.message);
            Line::styled(fill(&cut(&text, room), &more, row.width), self.look.style(tone))
                .render(row, buffer);
        }
    }

    fn queries(&self, area: Rect, buffer: &mut Buffer) {
        let StatusJson { totals, rates, .. } = &self.snapshot.status;
        let blocked = totals.blocked.saturating_add(totals.observed);
        let other = totals.refused.saturating_add(totals.dropped);
        let details = format!(
            "  noise {}  observed {}  refused {}  dropped {}",
            count(totals.noise),
            count(totals.observed),
            count(totals.refused),
            count(totals.dropped)
        );
        let rows: [Rect; 5] = Layout::vertical([Constraint::Length(1); 5]).areas(area);
        let history = seconds(Some(rates.allowed.len() as f64));
        let title = format!("QUERIES       PER SECOND      TOTAL  LAST {}", history.to_uppercase());
        self.title(&fill(&title, &details, area.width.saturating_sub(1)), rows[0], buffer);
        let series = [
            ("allowed", &rates.allowed, totals.allowed, self.good()),
            ("blocked", &rates.blocked, blocked, Tone::Other),
            ("errors", &rates.errors, totals.errors, Tone::Bad),
            ("other", &rates.other, other, Tone::Faint),
        ];
        for (row, (name, counts, total, tone)) in rows[1..].iter().zip(series) {
            let [text, chart] = Layout::horizontal([Constraint::Length(37), Constraint::Fill(1)]).areas(*row);
            let numbers = format!(" {name:<12}{:>11}{:>11}", rate(counts), count(total));
            Line::styled(numbers, self.look.style(tone)).render(text, buffer);
            Sparkline::default()
                .data(columns(counts, chart.width))
                .bar_set(self.look.bars())
                .style(self.look.style(tone))
                .render(chart, buffer);
        }
    }

    fn servers(&self, area: Rect, buffer: &mut Buffer) {
        let head = [" UPSTREAM", "", "LAST REPLY", "IN FLIGHT", "ANSWERED", "FAILED", "SHED", "MEAN"];
        let rows =
            self.snapshot.status.upstreams.iter().take(UPSTREAMS).map(|upstream| self.server(upstream));
        let right = |text: &'static str| Line::raw(text).right_aligned();
        let aligned = |(place, text)| if place < 2 { Line::raw(text) } else { right(text) };
        let head = Row::new(head.into_iter().enumerate().map(aligned));
        let widths = [
            Constraint::Fill(1),
            Constraint::Length(4),
            Constraint::Length(10),
            Constraint::Length(9),
            Constraint::Length(9),
            Constraint::Length(7),
            Constraint::Length(7),
            Constraint::Length(8),
        ];
        let table = Table::new(rows, widths).header(head.style(self.look.style(Tone::Title)));
        Widget::render(table, area, buffer);
    }

    fn server(&self, upstream: &UpstreamJson) -> Row<'static> {
        let right = |text: String| Line::raw(text).right_aligned();
        let (state, tone) = if upstream.up { ("up", self.good()) } else { ("DOWN", Tone::Bad) };
        let loss = |number: u64| {
            let style = if number > 0 { self.look.style(Tone::Bad) } else { Style::new() };
            Line::styled(count(number), style).right_aligned()
        };
        Row::new([
            Line::raw(format!(" {}", upstream.name)),
            Line::styled(state, self.look.style(tone)),
            right(seconds(upstream.seconds_since_reply)),
            right(format!("{}/{}", upstream.in_flight, upstream.max_in_flight)),
            right(count(upstream.answered)),
            loss(upstream.failed),
            loss(upstream.shed),
            right(seconds(upstream.mean_seconds)),
        ])
    }

    fn cache(&self, area: Rect, buffer: &mut Buffer) {
        let cache = &self.snapshot.status.cache;
        let lookups = cache.hits.saturating_add(cache.misses);
        let facts = format!(
            "  hit rate {} of {} lookups   {} entries   {} of {}",
            percent(cache.hits, lookups),
            count(lookups),
            count(cache.entries as u64),
            bytes(cache.bytes),
            bytes(cache.max_bytes)
        );
        let spans = [Span::styled(" CACHE", self.look.style(Tone::Title)), Span::raw(facts)];
        Line::from_iter(spans).render(area, buffer);
    }

    fn counts(&self, title: &str, counts: &[CountJson], area: Rect, buffer: &mut Buffer) {
        self.title(title, area, buffer);
        for (row, CountJson { key, count: number }) in area.rows().skip(1).zip(counts) {
            let key = cut(key, usize::from(row.width).saturating_sub(13));
            Line::raw(format!("{:>10}  {key}", count(*number))).render(row, buffer);
        }
        if let (true, Some(row)) = (counts.is_empty(), area.rows().nth(1)) {
            Line::styled("      none", self.look.style(Tone::Faint)).render(row, buffer);
        }
    }

    fn tail(&self, lookups: &[LookupJson], area: Rect, buffer: &mut Buffer) {
        let title = format!("{:<10}{:<17}{:<12}{:<7}BLOCKED NAME", "AT (UTC)", "CLIENT", "REASON", "TYPE");
        self.title(&title, area, buffer);
        let shown = usize::from(area.height.saturating_sub(1)).min(lookups.len());
        for (row, lookup) in area.rows().skip(1).zip(&lookups[lookups.len() - shown..]) {
            let client = cut(lookup.client.as_deref().unwrap_or("-"), 16);
            let reason = if lookup.decision == "observed" { "(observed)" } else { &lookup.reason };
            let tone = match (lookup.decision.as_str(), lookup.reason.as_str()) {
                ("observed", _) => self.look.style(Tone::Alarm).not_reversed(),
                (_, "noise") => self.look.style(Tone::Faint),
                _ => Style::new(),
            };
            let place = lookup.rule.iter().chain(&lookup.place).map(String::as_str).collect::<Vec<_>>();
            let facts = format!(
                " {:<10}{client:<17}{:<12}{:<7}",
                time_of_day(&lookup.time),
                cut(reason, 11),
                cut(&lookup.qtype, 6)
            );
            let room = usize::from(row.width).saturating_sub(facts.len() + 1);
            let text = format!("{facts}{}  {}", cut(&lookup.name, room), place.join(" at "));
            Line::styled(text, tone).render(row, buffer);
        }
    }

    fn foot(&self, area: Rect, buffer: &mut Buffer) {
        let keys = if self.paused { " q quit   p resume   PAUSED" } else { " q quit   p pause" };
        let lost = match self.snapshot.status.log_lost {
            0 => String::new(),
            lost => format!("{} lookups missing from the query log ", count(lost)),
        };
        let (text, tone) = match self.trouble {
            Some(trouble) => (fill(&format!(" retrying: {trouble}"), "q quit ", area.width), Tone::Alarm),
            None if self.paused || !lost.is_empty() => (fill(keys, &lost, area.width), Tone::Alarm),
            None => (keys.to_owned(), Tone::Faint),
        };
        Paragraph::new(text).style(self.look.style(tone)).render(area, buffer);
    }

    fn title(&self, text: &str, area: Rect, buffer: &mut Buffer) {
        Line::styled(format!(" {text}"), self.look.style(Tone::Title)).render(area, buffer);
    }
}

/// `left` and `right` at the ends of `width` columns; if both do not fit, `left` alone, cut.
fn fill(left: &str, right: &str, width: u16) -> String {
    let width = usize::from(width);
    match width.checked_sub(left.len() + right.len()) {
        Some(gap) => format!("{left}{:gap$}{right}", ""),
        None => format!("{:<width$}", cut(left, width)),
    }
}

/// `counts`, oldest first, as one bar for each of `width` columns; if there are more, several seconds share a column.
fn columns(counts: &[u64], width: u16) -> Vec<u64> {
    let width = usize::from(width);
    if width == 0 {
        return Vec::new();
    }
    let share = counts.len().div_ceil(width).max(1);
    let newest_first = counts.rchunks(share).map(|chunk| chunk.iter().copied().fold(0, u64::saturating_add));
    let mut columns: Vec<u64> = newest_first.collect();
    columns.resize(width, 0);
    columns.reverse();
    columns
}
