//! The live view: one thread reads, this one draws and handles keys.

use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::look::Look;
use super::screen::Screen;
use super::snapshot::{Reader, TopSnapshot};
use crate::cli::http::NoJson;

/// Time between two snapshots.
const PERIOD: Duration = Duration::from_secs(1);
/// Longest delay before something new is drawn.
const GLANCE: Duration = Duration::from_millis(100);

/// Time in which the view must end after a signal.
const GIVE_UP: Duration = Duration::from_millis(500);

/// Message from the reading thread.
enum Update {
    Snapshot(Box<TopSnapshot>),
    Trouble(NoJson),
    Stop,
}

/// Action of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Quit,
    Pause,
}

/// Shows the resolver until a key or a signal ends it, then restores the terminal, even after a panic.
pub(super) fn run(runtime: Runtime, reader: Reader, first: TopSnapshot, url: &str) -> io::Result<()> {
    let (updates, news) = channel();
    std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
        // It fails only if signals cannot be caught or the receiver is gone.
        let _ = runtime.block_on(read(reader, &updates));
        let _ = updates.send(Update::Stop);
        // Without a terminal, waiting for a key never ends.
        std::thread::sleep(GIVE_UP);
        let _ = ratatui::try_restore();
        #[expect(clippy::disallowed_methods, reason = "the thread that would return cannot be woken")]
        std::process::exit(0);
    })?;
    let mut terminal = ratatui::try_init()?;
    let outcome = show(&mut terminal, &news, first, url);
    ratatui::try_restore()?;
    outcome
}

async fn read(mut reader: Reader, updates: &Sender<Update>) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let update = async {
            ticks.tick().await;
            match reader.read().await {
                Ok(snapshot) => Update::Snapshot(Box::new(snapshot)),
                Err(error) => Update::Trouble(error),
            }
        };
        let update = tokio::select! {
            update = update => update,
            _ = terminate.recv() => Update::Stop,
            _ = interrupt.recv() => Update::Stop,
            _ = hangup.recv() => Update::Stop,
        };
        let stop = matches!(update, Update::Stop);
        if updates.send(update).is_err() || stop {
            return Ok(());
        }
    }
}

fn show(
    terminal: &mut DefaultTerminal,
    news: &Receiver<Update>,
    mut snapshot: TopSnapshot,
    url: &str,
) -> io::Result<()> {
    let look = Look::of_environment();
    let (mut trouble, mut paused) = (None::<String>, false);
    loop {
        let trouble_now = trouble.as_deref();
        let screen = Screen { url, snapshot: &snapshot, trouble: trouble_now, paused, look };
        terminal.draw(|frame| frame.render_widget(screen, frame.area()))?;
        // Wait until there is something to draw.
        loop {
            if event::poll(GLANCE)? {
                match wish(&event::read()?) {
                    Some(Wish::Quit) => return Ok(()),
                    Some(Wish::Pause) => paused = !paused,
                    None => {}
                }
                break;
            }
            match news.try_recv() {
                Ok(Update::Snapshot(_)) if paused => {}
                Ok(Update::Snapshot(newer)) => {
                    (snapshot, trouble) = (*newer, None);
                    break;
                }
                Ok(Update::Trouble(error)) => {
                    trouble = Some(error.to_string());
                    break;
                }
                Ok(Update::Stop) | Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => {}
            }
        }
    }
}

/// Action of an event; a resize only redraws.
fn wish(event: &Event) -> Option<Wish> {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event else { return None };
    match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Some(Wish::Quit),
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Some(Wish::Quit),
        KeyCode::Char('p' | 'P' | ' ') => Some(Wish::Pause),
        _ => None,
    }
}
