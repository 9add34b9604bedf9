//! The live view's thin shell: keys, signals and answers come in, frames go out.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use posthaste_host::clock;
use posthaste_relay::{
    admin::{AskError, Request, ask},
    top::Top,
};
use ratatui::crossterm::event::{self, Event, KeyEvent};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    app::{App, Step},
    view,
};
use crate::{commands::At, screen};

/// What happens.
enum Happening {
    Key(KeyEvent),
    /// The terminal has another size.
    Resized,
    Answer(Box<Result<Top, String>>),
    /// A signal that ends the program, by its number.
    Signal(u8),
    /// The terminal gives no keys any more.
    Gone(std::io::Error),
}

/// So often the view is drawn at least: ages grow.
const TICK: Duration = Duration::from_secs(1);
/// So often the last minutes are asked for.
const MINUTES: Duration = Duration::from_secs(60);

/// Shows the live view until a key or a signal ends it.
pub(super) fn run(at: &At, every: Duration) -> anyhow::Result<ExitCode> {
    let socket = at.look()?.admin.socket;
    let (tell, hears) = channel();
    hear_signals(tell.clone())?;
    let mut whole = screen::Whole::take().context("the terminal cannot be used")?;
    hear_keys(tell.clone());
    let asks = asker(socket, tell);
    let ended = show(&mut whole, &hears, &asks, every);
    drop(whole);
    ended
}

fn show(whole: &mut screen::Whole, hears: &Receiver<Happening>, asks: &Sender<bool>, every: Duration) -> anyhow::Result<ExitCode> {
    let mut app = App::new(screen::has_colours());
    let (mut next, mut told) = (clock::instant(), None::<Instant>);
    loop {
        let instant = clock::instant();
        if app.asked.is_none() && !app.is_paused && instant >= next {
            let with_minutes = told.is_none_or(|last| instant.duration_since(last) >= MINUTES);
            asks.send(with_minutes).context("the thread that asks the relay has ended")?;
            app.asked = Some(clock::now());
            next = instant + every;
            if with_minutes {
                told = Some(instant);
            }
        }
        whole.draw(|frame| view::draw(frame, &app, clock::now()))?;
        let wait = if app.asked.is_some() || app.is_paused { TICK } else { next.saturating_duration_since(clock::instant()).min(TICK) };
        match hears.recv_timeout(wait) {
            Ok(Happening::Key(key)) => {
                if app.press(key) == Step::Quit {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            Ok(Happening::Answer(answer)) => {
                // What was not told is asked for again at once, when the relay is back.
                if answer.is_err() {
                    told = None;
                }
                app.hear(*answer, clock::now());
            }
            Ok(Happening::Signal(number)) => return Ok(ExitCode::from(128_u8.saturating_add(number))),
            Ok(Happening::Gone(error)) => return Err(error).context("the terminal is gone"),
            Ok(Happening::Resized) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("nothing can happen any more"),
        }
    }
}

/// Asks the relay when it is told to, on a thread of its own: an answer may take long.
fn asker(socket: PathBuf, tell: Sender<Happening>) -> Sender<bool> {
    let (asks, asked) = channel();
    thread::spawn(move || {
        for minutes in asked {
            let answer = ask::<Top>(&socket, &Request::Top { minutes }).map_err(|error| match error {
                AskError::NotRunning(why) => format!("no relay answers at {}: {why}", socket.display()),
                AskError::NotAllowed(why) | AskError::Failed(why) => why,
            });
            if tell.send(Happening::Answer(Box::new(answer))).is_err() {
                return;
            }
        }
    });
    asks
}

fn hear_keys(tell: Sender<Happening>) {
    thread::spawn(move || {
        loop {
            let happening = match event::read() {
                Ok(Event::Key(key)) => Happening::Key(key),
                Ok(Event::Resize(..)) => Happening::Resized,
                Ok(_) => continue,
                Err(error) => Happening::Gone(error),
            };
            let is_last = matches!(happening, Happening::Gone(_));
            if tell.send(happening).is_err() || is_last {
                return;
            }
        }
    });
}

/// Hears the signals that end a program, so that the terminal is given back first.
fn hear_signals(tell: Sender<Happening>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let listening = {
        let _inside = runtime.enter();
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
        kinds.into_iter().map(|kind| Ok((kind, signal(kind)?))).collect::<std::io::Result<Vec<_>>>()?
    };
    thread::spawn(move || {
        runtime.block_on(async move {
            let mut waits = tokio::task::JoinSet::new();
            for (kind, mut signal) in listening {
                waits.spawn(async move {
                    signal.recv().await;
                    kind
                });
            }
            if let Some(Ok(kind)) = waits.join_next().await {
                let number = u8::try_from(kind.as_raw_value()).unwrap_or(0);
                // The view has ended by itself.
                let _ = tell.send(Happening::Signal(number));
            }
        });
    });
    Ok(())
}
