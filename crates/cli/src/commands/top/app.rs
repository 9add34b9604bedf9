//! What the live view knows, and what keys do to it: pure.

use jiff::{SignedDuration, Timestamp};
use posthaste_mail::Foreign;
use posthaste_relay::top::{Flow, LaneNow, ProviderNow, Top};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::rates::Rates;

/// The state of the live view.
#[derive(Debug)]
pub(super) struct App {
    /// The last answer.
    pub(super) top: Option<Top>,
    /// Why there is none now, and since when.
    pub(super) trouble: Option<(Timestamp, String)>,
    /// The last minutes, which are told less often.
    pub(super) minutes: Vec<Flow>,
    /// When the question that has no answer yet was asked.
    pub(super) asked: Option<Timestamp>,
    pub(super) rates: Rates,
    pub(super) sort: Sort,
    /// Only what contains this is shown; in small letters.
    pub(super) filter: String,
    /// The filter is being typed.
    pub(super) is_typing: bool,
    pub(super) is_paused: bool,
    pub(super) is_help: bool,
    /// Whether colours may be used.
    pub(super) colours: bool,
}

/// By what providers are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Refused,
    Queued,
    Oldest,
    Name,
}

/// What follows from a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Stay,
    Quit,
}

impl Sort {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Queued => "queued",
            Self::Oldest => "oldest",
            Self::Name => "name",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Refused => Self::Queued,
            Self::Queued => Self::Oldest,
            Self::Oldest => Self::Name,
            Self::Name => Self::Refused,
        }
    }
}

impl App {
    pub(super) fn new(colours: bool) -> Self {
        Self {
            top: None,
            trouble: None,
            minutes: Vec::new(),
            asked: None,
            rates: Rates::default(),
            sort: Sort::Refused,
            filter: String::new(),
            is_typing: false,
            is_paused: false,
            is_help: false,
            colours,
        }
    }

    /// Takes an answer, or why there is none.
    pub(super) fn hear(&mut self, answer: Result<Top, String>, now: Timestamp) {
        self.asked = None;
        match answer {
            Ok(mut top) => {
                self.trouble = None;
                if let Some(minutes) = top.minutes.take() {
                    self.minutes = minutes;
                }
                if let Some(counted) = top.counted {
                    self.rates.take(top.now, counted);
                }
                // A pause keeps what is shown.
                if !self.is_paused || self.top.is_none() {
                    self.top = Some(top);
                }
            }
            Err(why) => {
                self.rates.clear();
                let since = self.trouble.take().map_or(now, |(since, _)| since);
                self.trouble = Some((since, why));
            }
        }
    }

    /// For how long a question has had no answer, if that is remarkable.
    pub(super) fn waits(&self, now: Timestamp) -> Option<SignedDuration> {
        self.asked.map(|asked| now.duration_since(asked)).filter(|waits| *waits >= REMARKABLE)
    }

    /// Does what a key says.
    pub(super) fn press(&mut self, key: KeyEvent) -> Step {
        if key.kind == KeyEventKind::Release {
            return Step::Stay;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if matches!(key.code, KeyCode::Char('c' | 'd')) { Step::Quit } else { Step::Stay };
        }
        if self.is_typing {
            self.type_filter(key.code);
            return Step::Stay;
        }
        match key.code {
            KeyCode::Esc if self.is_help => self.is_help = false,
            KeyCode::Esc if !self.filter.is_empty() => self.filter.clear(),
            KeyCode::Char('q') | KeyCode::Esc => return Step::Quit,
            KeyCode::Char('?' | 'h') => self.is_help = !self.is_help,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('/' | 'f') => (self.is_typing, self.is_help) = (true, false),
            _ => {}
        }
        Step::Stay
    }

    fn type_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if self.filter.chars().count() < FILTER_MAX && !Foreign::is_obeyed(c) => self.filter.extend(c.to_lowercase()),
            _ => {}
        }
    }

    /// Whether the filter lets this through.
    pub(super) fn shows(&self, words: &[&str]) -> bool {
        self.filter.is_empty() || words.iter().any(|word| word.to_lowercase().contains(&self.filter))
    }

    /// The providers to show, in the order in which they are wanted.
    pub(super) fn providers<'t>(&self, top: &'t Top) -> Vec<&'t ProviderNow> {
        let mut providers: Vec<_> = top.providers.iter().filter(|row| self.shows(&[&row.provider])).collect();
        providers.sort_by(|one, other| {
            let order = match self.sort {
                Sort::Refused => (other.refused, other.queued).cmp(&(one.refused, one.queued)),
                Sort::Queued => other.queued.cmp(&one.queued),
                // What has nothing in the queue comes last.
                Sort::Oldest => (one.oldest.is_none(), one.oldest).cmp(&(other.oldest.is_none(), other.oldest)),
                Sort::Name => std::cmp::Ordering::Equal,
            };
            order.then_with(|| one.provider.cmp(&other.provider))
        });
        providers
    }

    /// The lanes to show.
    pub(super) fn lanes<'t>(&self, top: &'t Top) -> Vec<&'t LaneNow> {
        top.lanes.iter().filter(|lane| self.shows(&[&lane.source, &lane.provider])).collect()
    }
}

/// A question that has had no answer for so long is worth a word.
const REMARKABLE: SignedDuration = SignedDuration::from_secs(5);
/// The longest filter, in characters.
const FILTER_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn press(app: &mut App, keys: &str) -> Step {
        let code = |c| match c {
            '\n' => KeyCode::Enter,
            '\u{8}' => KeyCode::Backspace,
            '\u{1b}' => KeyCode::Esc,
            c => KeyCode::Char(c),
        };
        keys.chars().map(|c| app.press(KeyEvent::new(code(c), KeyModifiers::NONE))).last().unwrap()
    }

    #[test]
    fn keys_do_what_the_help_says() {
        let mut app = App::new(true);
        assert_eq!(press(&mut app, "s"), Step::Stay);
        assert_eq!(app.sort, Sort::Queued);
        press(&mut app, "sss");
        assert_eq!(app.sort, Sort::Refused);
        press(&mut app, "/Goq\u{8}s");
        assert_eq!((app.filter.as_str(), app.is_typing, app.sort), ("gos", true, Sort::Refused), "typed, not obeyed");
        press(&mut app, "\n");
        assert!(!app.is_typing && app.shows(&["x", "a.Gos.b"]) && !app.shows(&["google"]));
        press(&mut app, "p?");
        assert!(app.is_paused && app.is_help);
        press(&mut app, "\u{1b}\u{1b}p");
        assert!(!app.is_paused && !app.is_help && app.filter.is_empty(), "Esc leaves the help, then the filter");
        assert_eq!(press(&mut app, "\u{1b}"), Step::Quit);
        assert_eq!(press(&mut app, "q"), Step::Quit);
        assert_eq!(app.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Step::Quit);
        press(&mut app, "/");
        assert_eq!(app.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Step::Quit, "also while something is typed");
    }

    #[test]
    fn a_filter_is_short_and_has_nothing_that_a_terminal_obeys() {
        let mut app = App::new(true);
        press(&mut app, &format!("/\u{202e}{}", "x".repeat(100)));
        assert_eq!(app.filter, "x".repeat(FILTER_MAX));
    }
}
