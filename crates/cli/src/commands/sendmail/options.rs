//! sendmail's command line. It is older than getopt_long: options may be joined to their values, and many have no meaning any more.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

/// The mode of operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    /// Submit the message on standard input.
    Deliver,
    /// `-bs`: speak SMTP on standard input and output.
    Smtp,
    /// `-bp`, and the name mailq: list the queue.
    Queue,
    /// `-q`: try waiting messages now.
    Flush(Flush),
    /// `-bi`, and the name newaliases: check the aliases.
    Aliases,
    /// `-bv`: show to whom the recipients lead.
    Verify,
    /// `--help`
    Help,
}

/// Which messages `-q` is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flush {
    /// All of them.
    All,
    /// `-qI`: the one with this id.
    Id(String),
    /// `-qR`: those to this domain.
    Domain(String),
}

/// The parsed command line. Addresses are as given: what makes them whole stands in the configuration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) mode: Mode,
    /// `-C`: the configuration file.
    pub(super) config: Option<PathBuf>,
    /// `-t`: take recipients from To, Cc and Bcc too.
    pub(super) from_header: bool,
    /// Whether a line with a single dot ends the message: not with `-i` or `-oi`.
    pub(super) dot_ends: bool,
    /// `-f` or `-r`; empty for the null reverse-path.
    pub(super) sender: Option<String>,
    /// `-F`
    pub(super) full_name: Option<String>,
    pub(super) recipients: Vec<String>,
}

/// Options that take a value, in the same word or the next.
const WITH_VALUE: &str = "AbBCdfFhLNoOpqrRVX";
/// Of these, the options whose value is in the same word or absent.
const STUCK: &str = "Abdoqp";

impl Options {
    /// Reads the words behind the program's name. `called`: the name that it was started under.
    pub(super) fn read(called: &str, arguments: &[OsString]) -> Result<Self, String> {
        let mode = match called {
            "mailq" => Mode::Queue,
            "newaliases" => Mode::Aliases,
            _ => Mode::Deliver,
        };
        let (config, sender, full_name) = (None, None, None);
        let mut options = Self { mode, config, from_header: false, dot_ends: true, sender, full_name, recipients: Vec::new() };
        let words: Vec<String> = arguments.iter().map(text).collect();
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "--" => break,
                "--help" => options.mode = Mode::Help,
                word if word.len() > 1 && word.starts_with('-') => options.letters(&word[1..], &mut words)?,
                word => options.recipients.extend(addresses(one_line(word)?)),
            }
        }
        for word in words {
            options.recipients.extend(addresses(one_line(word)?));
        }
        Ok(options)
    }

    fn letters<'a>(&mut self, letters: &'a str, words: &mut impl Iterator<Item = &'a str>) -> Result<(), String> {
        for (at, letter) in letters.char_indices() {
            let stuck = &letters[at + letter.len_utf8()..];
            if !WITH_VALUE.contains(letter) {
                match letter {
                    't' => self.from_header = true,
                    'i' => self.dot_ends = false,
                    'I' => self.mode = Mode::Aliases,
                    // Verbose, and obsolete options: no duplicate elimination, "to me too", error modes, gateway headers.
                    'v' | 'n' | 'm' | 'e' | 'G' | 'U' | 's' | 'x' => {}
                    other => return Err(format!("-{other}: no such option; --help lists them")),
                }
                // In -em, -eq and similar, the second letter is not an option.
                if letter == 'e' {
                    return Ok(());
                }
                continue;
            }
            let value = match stuck {
                // Some write the id behind a blank.
                "I" | "R" if letter == 'q' => {
                    let which = words.next().ok_or_else(|| format!("-q{stuck} needs a value"))?;
                    return self.value(letter, &format!("{stuck}{which}"));
                }
                "" if STUCK.contains(letter) => "",
                "" => words.next().ok_or_else(|| format!("-{letter} needs a value"))?,
                stuck => stuck,
            };
            return self.value(letter, value);
        }
        Ok(())
    }

    fn value(&mut self, letter: char, value: &str) -> Result<(), String> {
        match (letter, value) {
            ('b', "m" | "") => {}
            ('b', "s") => self.mode = Mode::Smtp,
            ('b', "p") => self.mode = Mode::Queue,
            ('b', "i") => self.mode = Mode::Aliases,
            ('b', "v") => self.mode = Mode::Verify,
            ('b', "d" | "D") => return Err(format!("-b{value}: `posthaste run` is the relay; a service manager starts it")),
            ('b', mode) => return Err(format!("-b{mode}: no such mode; -bm, -bs, -bp, -bi and -bv are")),
            ('C', file) => self.config = Some(file.into()),
            ('f' | 'r', sender) => self.sender = Some(bare(one_line(sender)?).to_owned()),
            ('F', name) => self.full_name = Some(name.to_owned()),
            ('o', "i") => self.dot_ends = false,
            ('O', option) if option.eq_ignore_ascii_case("IgnoreDots=true") => self.dot_ends = false,
            ('q', which) => self.mode = Mode::Flush(flush(which)?),
            _ => {}
        }
        Ok(())
    }
}

/// An argument with an address, or with several. A line break in one was put there by whoever filled in a form, to add recipients or commands.
fn one_line(word: &str) -> Result<&str, String> {
    match word.contains(['\r', '\n', '\0']) {
        true => Err(format!("{:?}: there is a line break in an address", word)),
        false => Ok(word),
    }
}

/// What stands behind `-q`.
fn flush(which: &str) -> Result<Flush, String> {
    match which.split_at_checked(1) {
        None => Ok(Flush::All),
        Some(("I", id)) => Ok(Flush::Id(id.to_owned())),
        Some(("R", to)) => Ok(Flush::Domain(to.rsplit('@').next().unwrap_or(to).to_owned())),
        // An interval between runs: the relay tries each message when it is due.
        Some((first, _)) if first.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Flush::All),
        Some(_) => Err(format!("-q{which}: only -q, -qI ID and -qR DOMAIN are supported; `posthaste queue retry` knows more")),
    }
}

/// A word as text: UTF-8, or else ISO-8859-1, as old scripts write names.
fn text(word: &OsString) -> String {
    let bytes = word.clone().into_vec();
    String::from_utf8(bytes).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

/// The addresses of one word, which may be a list as in a header: `a@x,Bob <b@x>`.
fn addresses(word: &str) -> Vec<String> {
    let (mut quoted, mut in_angle, mut escaped) = (false, false, false);
    let parts = word.split(move |c| {
        let ends = c == ',' && !quoted && !in_angle;
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => in_angle = true,
            '>' if !quoted => in_angle = false,
            _ => {}
        }
        ends
    });
    parts.map(bare).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// An address without the angle brackets around it, and without a name before them.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_suffix('>').and_then(|rest| rest.rsplit_once('<'));
    inner.map_or(text, |(_, inner)| inner.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        Options::read("sendmail", &line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn what_cron_and_php_say_is_understood() {
        let cron = read("-i -FCronDaemon -B8BITMIME -oem -odi root").unwrap();
        assert_eq!((cron.full_name.as_deref(), cron.dot_ends, cron.from_header), (Some("CronDaemon"), false, false));
        assert_eq!(cron.recipients, ["root"]);
        let php = read("-t -i -fbounce@example.org").unwrap();
        assert_eq!((php.from_header, php.sender.as_deref()), (true, Some("bounce@example.org")));
        let joined = read("-ti -f bounce@example.org -oi -- -odd@example.org <b@example.org>").unwrap();
        assert_eq!(joined.recipients, ["-odd@example.org", "b@example.org"]);
        assert!(joined.from_header && !joined.dot_ends);
        assert_eq!(read("-bs -i").unwrap().mode, Mode::Smtp);
        assert_eq!(read("-f <> a@b.c").unwrap().sender.as_deref(), Some(""));
        assert!(read("-v -em -Ac -Am -N never -R hdrs -O DeliveryMode=b a@b.c").unwrap().dot_ends);
        assert_eq!(read("-C /etc/mail/x.cf a@b.c").unwrap().config.as_deref(), Some("/etc/mail/x.cf".as_ref()));
    }

    #[test]
    fn a_word_may_be_a_list() {
        assert_eq!(read("b@rcpt.test,c@rcpt.test,").unwrap().recipients, ["b@rcpt.test", "c@rcpt.test"]);
        let words = ["Bob <b@x.test>, \"a,b\"@x.test", "\"C, D\" <c@x.test> ,d"].map(OsString::from);
        assert_eq!(Options::read("sendmail", &words).unwrap().recipients, ["b@x.test", "\"a,b\"@x.test", "c@x.test", "d"]);
    }

    #[test]
    fn a_line_break_in_an_address_is_refused_and_makes_no_second_one() {
        for words in [
            &["a@x.test\nb@x.test"][..],
            &["a@x.test\r\nRCPT TO:<b@x.test>"],
            &["--", "a@x.test\nb@x.test"],
            &["-f", "a@x.test\nb@x.test", "c@x.test"],
            &["-fa@x.test\rb", "c@x.test"],
        ] {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            let refused = Options::read("sendmail", &words);
            assert!(refused.as_ref().is_err_and(|why| why.contains("line break")), "{words:?}: {refused:?}");
        }
    }

    #[test]
    fn the_programs_other_names_and_modes() {
        let mode = |called: &str, line: &str| {
            Options::read(called, &line.split_whitespace().map(OsString::from).collect::<Vec<_>>()).map(|options| options.mode)
        };
        assert_eq!(mode("mailq", "-v"), Ok(Mode::Queue));
        assert_eq!(mode("sendmail", "-bp"), Ok(Mode::Queue));
        assert_eq!(mode("newaliases", ""), Ok(Mode::Aliases));
        assert_eq!(mode("sendmail", "--help"), Ok(Mode::Help));
        assert_eq!(mode("sendmail", "-bv root"), Ok(Mode::Verify));
        assert_eq!(mode("sendmail", "-q"), Ok(Mode::Flush(Flush::All)));
        assert_eq!(mode("sendmail", "-q30m"), Ok(Mode::Flush(Flush::All)));
        assert_eq!(mode("sendmail", "-qRann@x.test"), Ok(Mode::Flush(Flush::Domain("x.test".into()))));
        assert_eq!(mode("sendmail", "-qI1"), Ok(Mode::Flush(Flush::Id("1".into()))));
        assert_eq!(mode("sendmail", "-qI 1"), Ok(Mode::Flush(Flush::Id("1".into()))));
        assert_eq!(mode("sendmail", "-qR x.test"), Ok(Mode::Flush(Flush::Domain("x.test".into()))));
        assert_eq!(mode("sendmail", "-qI"), Err("-qI needs a value".into()));
    }

    #[test]
    fn names_are_taken_in_old_encodings_too() {
        let words = [OsString::from("-F"), OsString::from_vec(b"J\xfcrgen".to_vec())];
        assert_eq!(Options::read("sendmail", &words).unwrap().full_name.as_deref(), Some("Jürgen"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in ["-z", "-bx", "-f", "-tZ", "-bd", "-qSx", "-C"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
