//! Standard output and standard error: the only way to them, for this program. Whatever is written passes a filter, because nearly every command
//! shows text of strangers, and a terminal obeys what it is told.

use std::{
    fmt,
    io::{self, IsTerminal, StderrLock, Stdout, StdoutLock, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use indicatif::ProgressBar;
use posthaste_mail::Foreign;
use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor, execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};

/// A stream to people, or to a program that reads JSON: all that a terminal would obey is escaped as JSON escapes it, except for line ends and
/// tabs. So JSON means the same as before.
pub(crate) struct Screen<W: Write> {
    to: W,
    /// The first bytes of a character whose last ones are still to come.
    begun: Vec<u8>,
    /// Whether the colours of our own are let through.
    colours: bool,
    /// The columns of the terminal, whose lines are folded; None: they are as long as they are.
    width: Option<usize>,
    /// The beginning of a line that is to be folded.
    line: String,
}

/// Standard output, for people: at a terminal, lines that are longer than it is wide are folded. Lines of JSON are not.
pub(crate) fn out() -> Screen<StdoutLock<'static>> {
    let mut out = raw();
    out.width = width();
    out
}

/// Standard output for what is to be copied or read by a program: no line is folded.
pub(crate) fn raw() -> Screen<StdoutLock<'static>> {
    Screen::new(io::stdout().lock())
}

/// Standard output, with our own colours if wanted. Only for text in which what strangers wrote is [`Foreign`].
pub(crate) fn out_in(colours: bool) -> Screen<StdoutLock<'static>> {
    let mut out = out();
    out.colours = colours;
    out
}

/// Standard output as it is, for a program at the other end that speaks SMTP with the relay.
pub(crate) fn pipe() -> StdoutLock<'static> {
    io::stdout().lock()
}

/// Whether to use colours: on a terminal, unless NO_COLOR is set.
pub(crate) fn has_colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// The columns of the terminal that standard output goes to; None: it goes elsewhere.
pub(crate) fn width() -> Option<usize> {
    columns_of(&io::stdout())
}

fn columns_of(stream: &(impl IsTerminal + rustix::fd::AsFd)) -> Option<usize> {
    let size = stream.is_terminal().then(|| rustix::termios::tcgetwinsize(stream).ok()).flatten()?;
    // A terminal that does not know its size says 0.
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Standard error, folded as standard output is.
pub(crate) fn err() -> Screen<StderrLock<'static>> {
    let mut err = Screen::new(io::stderr().lock());
    err.width = columns_of(&io::stderr());
    err
}

/// Says on standard error what the user should know, after the program's name. If even that fails, there is nobody to tell.
pub(crate) fn say(text: impl fmt::Display) {
    let _ = writeln!(err(), "posthaste: {text}");
}

impl<W: Write> Screen<W> {
    fn new(to: W) -> Self {
        Self { to, begun: Vec::new(), colours: false, width: None, line: String::new() }
    }

    fn show(&mut self, text: &str) -> io::Result<()> {
        let Some(width) = self.width else { return self.filter(text) };
        self.line += text;
        while let Some(end) = self.line.find('\n') {
            let rest = self.line.split_off(end + 1);
            let line = std::mem::replace(&mut self.line, rest);
            self.filter(&folded(&line, width))?;
        }
        Ok(())
    }

    /// Writes what is left of a line that is to be folded.
    fn end_line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let folded = self.width.map_or_else(|| line.clone(), |width| folded(&line, width));
        self.filter(&folded)
    }

    fn filter(&mut self, text: &str) -> io::Result<()> {
        let mut rest = text;
        while let Some(at) = rest.find(|c| Foreign::is_obeyed(c) && c != '\n' && c != '\t') {
            let (before, obeyed) = rest.split_at(at);
            self.to.write_all(before.as_bytes())?;
            let colour = if self.colours { colour(obeyed) } else { 0 };
            let end = match colour {
                0 => {
                    let c = obeyed.chars().next().expect("it was found");
                    let mut escape = String::new();
                    Foreign::escape(c, &mut escape).expect("a string takes everything");
                    self.to.write_all(escape.as_bytes())?;
                    c.len_utf8()
                }
                length => {
                    self.to.write_all(&obeyed.as_bytes()[..length])?;
                    length
                }
            };
            rest = &obeyed[end..];
        }
        self.to.write_all(rest.as_bytes())
    }
}

impl<W: Write> Write for Screen<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let mut rest = &all[..];
        loop {
            match str::from_utf8(rest) {
                Ok(text) => {
                    self.show(text)?;
                    return Ok(bytes.len());
                }
                Err(error) => {
                    let (text, broken) = rest.split_at(error.valid_up_to());
                    self.show(str::from_utf8(text).expect("it is valid up to there"))?;
                    let Some(length) = error.error_len() else {
                        self.begun = broken.to_vec();
                        return Ok(bytes.len());
                    };
                    write!(self.to, "{}", Foreign::new(&broken[..length]))?;
                    rest = &broken[length..];
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end_line()?;
        self.to.flush()
    }
}

impl<W: Write> Drop for Screen<W> {
    fn drop(&mut self) {
        let _ = self.end_line();
        // Whoever waits for the rest of a character waits in vain. An error has nobody to hear of it.
        let _ = write!(self.to, "{}", Foreign::new(&self.begun));
    }
}

/// How far the further lines of a folded line are indented, beyond its own indentation.
const HANGING: usize = 4;

/// A line in as many lines as a terminal of this width needs. It is broken between words where that is possible.
fn folded(line: &str, width: usize) -> String {
    let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
    let is_json = text.starts_with("{\"") || text.starts_with('[');
    if is_json || columns(text) <= width {
        return line.to_owned();
    }
    let words = text.trim_start_matches(' ');
    let indent = (text.len() - words.len()).min(width / 2);
    let hanging = " ".repeat((indent + HANGING).min(width / 2));
    let mut out = " ".repeat(indent);
    let (mut at, mut is_empty) = (indent, true);
    for word in words.split(' ') {
        let mut word = word;
        let gap = usize::from(!is_empty);
        if at + gap + columns(word) > width && !is_empty {
            out.truncate(out.trim_end_matches(' ').len());
            out += "\n";
            out += &hanging;
            (at, is_empty) = (hanging.len(), true);
        }
        if !is_empty {
            out.push(' ');
            at += 1;
        }
        // A word that is longer than a line is broken anywhere. Nothing of ours that is coloured is that long.
        while at + columns(word) > width && !word.contains('\x1b') {
            let room = word.char_indices().nth(width - at).map_or(word.len(), |(i, _)| i);
            out += &word[..room];
            word = &word[room..];
            out += "\n";
            out += &hanging;
            at = hanging.len();
        }
        out += word;
        at += columns(word);
        is_empty = word.is_empty() && is_empty && at == hanging.len();
    }
    out.truncate(out.trim_end_matches(' ').len());
    out + end
}

/// The columns that a text takes at a terminal, without the escape sequences that choose a colour.
fn columns(text: &str) -> usize {
    let (mut count, mut rest) = (0, text);
    while let Some(c) = rest.chars().next() {
        let length = colour(rest);
        count += usize::from(length == 0);
        rest = &rest[length.max(c.len_utf8())..];
    }
    count
}

/// The length of an escape sequence that only chooses a colour or another look (ECMA-48, SGR) at the start of `text`, or 0.
fn colour(text: &str) -> usize {
    let Some(codes) = text.strip_prefix("\x1b[") else { return 0 };
    let digits = codes.bytes().take_while(u8::is_ascii_digit).count();
    if (1..=2).contains(&digits) && codes[digits..].starts_with('m') { digits + 3 } else { 0 }
}

/// Whether standard input and output are the same kind of terminal that a live view needs.
pub(crate) fn is_live() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// The whole terminal for a live view: its alternate screen, with keys that are not echoed. When it is dropped, or the program panics, the terminal
/// is what it was. What is drawn has no escapes of strangers: ratatui leaves out control characters, and the view escapes the rest.
pub(crate) struct Whole(Terminal<CrosstermBackend<Stdout>>);

/// Whether the terminal is taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

impl Whole {
    /// Takes the terminal.
    pub(crate) fn take() -> io::Result<Self> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        TAKEN.store(true, Ordering::SeqCst);
        let taken = enable_raw_mode()
            .and_then(|()| execute!(io::stdout(), EnterAlternateScreen, cursor::Hide))
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        taken.map(Self).inspect_err(|_| give_back())
    }

    /// Draws the view anew.
    pub(crate) fn draw(&mut self, view: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if !TAKEN.load(Ordering::SeqCst) {
            return Err(io::Error::other("a part of the program has failed"));
        }
        self.0.draw(view).map(drop)
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        give_back();
    }
}

/// Makes the terminal what it was. An error has nobody to hear of it.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
    }
}

/// A diagnostic of the running relay on standard error: one line each, whatever is in it; a progress that is shown steps out of its way.
pub(crate) struct Diagnostic(ProgressBar);

/// For tracing, which writes each event at once.
pub(crate) fn diagnostic(beside: ProgressBar) -> Diagnostic {
    Diagnostic(beside)
}

impl Write for Diagnostic {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = || writeln!(io::stderr().lock(), "{}", Foreign::new(event.strip_suffix(b"\n").unwrap_or(event)));
        if self.0.is_finished() { line() } else { self.0.suspend(line) }?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests;
