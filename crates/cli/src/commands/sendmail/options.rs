//! sendmail's command line. It is older than getopt_long: options may be joined to their values, and many have no meaning any more.

use std::ffi::OsString;

use posthaste_mail::{Address, ReversePath};

/// The mode of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Submit the message on standard input.
    Deliver,
    /// `-bs`: speak SMTP on standard input and output.
    Smtp,
}

/// The parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) mode: Mode,
    /// `-t`: take recipients from To, Cc and Bcc too.
    pub(super) from_header: bool,
    /// Whether a line with a single dot ends the message: not with `-i` or `-oi`.
    pub(super) dot_ends: bool,
    /// `-f` or `-r`.
    pub(super) sender: Option<ReversePath>,
    /// `-F`
    pub(super) full_name: Option<String>,
    pub(super) recipients: Vec<Address>,
}

/// Options that take a value, in the same word or the next.
const WITH_VALUE: &str = "bBCdfFhLNoOpqrRVX";
/// Of these, the options whose value is in the same word or absent.
const STUCK: &str = "bdoqp";

impl Options {
    pub(super) fn read(arguments: &[OsString]) -> Result<Self, String> {
        let mut options =
            Self { mode: Mode::Deliver, from_header: false, dot_ends: true, sender: None, full_name: None, recipients: Vec::new() };
        let mut words = arguments.iter().map(|word| word.to_str().ok_or_else(|| format!("{word:?} is not UTF-8")));
        while let Some(word) = words.next() {
            match word? {
                "--" => break,
                word if word.len() > 1 && word.starts_with('-') => options.letters(&word[1..], &mut words)?,
                word => options.recipients.push(recipient(word)?),
            }
        }
        for word in words {
            options.recipients.push(recipient(word?)?);
        }
        Ok(options)
    }

    fn letters<'a>(&mut self, letters: &'a str, words: &mut impl Iterator<Item = Result<&'a str, String>>) -> Result<(), String> {
        for (at, letter) in letters.char_indices() {
            let stuck = &letters[at + letter.len_utf8()..];
            if !WITH_VALUE.contains(letter) {
                match letter {
                    't' => self.from_header = true,
                    'i' => self.dot_ends = false,
                    // Verbose, and obsolete options: no duplicate elimination, "to me too", error modes, gateway headers.
                    'v' | 'n' | 'm' | 'e' | 'G' | 'U' | 's' | 'x' => {}
                    other => return Err(format!("-{other}: no such option")),
                }
                // In -em, -eq and similar, the second letter is not an option.
                if letter == 'e' {
                    return Ok(());
                }
                continue;
            }
            let value = match stuck {
                "" if STUCK.contains(letter) => "",
                "" => words.next().ok_or_else(|| format!("-{letter} needs a value"))??,
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
            ('b', mode) => return Err(format!("-b{mode}: only -bm and -bs are supported; `posthaste queue` shows the queue")),
            ('f' | 'r', "" | "<>") => self.sender = Some(ReversePath::Null),
            ('f' | 'r', sender) => self.sender = Some(ReversePath::Mailbox(recipient(sender)?)),
            ('F', name) => self.full_name = Some(name.to_owned()),
            ('o', "i") => self.dot_ends = false,
            ('O', option) if option.eq_ignore_ascii_case("IgnoreDots=true") => self.dot_ends = false,
            _ => {}
        }
        Ok(())
    }
}

/// Parses an address, also in the form `<address>`. A name without a domain gets this machine's.
fn recipient(word: &str) -> Result<Address, String> {
    let bare = word.strip_prefix('<').and_then(|word| word.strip_suffix('>')).unwrap_or(word);
    let whole = if bare.contains('@') { bare.to_owned() } else { format!("{bare}@{}", super::caller::hostname()) };
    Address::new(&whole).map_err(|error| format!("{word}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        Options::read(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    fn address(text: &str) -> Address {
        Address::new(text).unwrap()
    }

    #[test]
    fn what_cron_and_php_say_is_understood() {
        let cron = read("-i -FCronDaemon -B8BITMIME -oem -odi root@example.org").unwrap();
        assert_eq!((cron.full_name.as_deref(), cron.dot_ends, cron.from_header), (Some("CronDaemon"), false, false));
        assert_eq!(cron.recipients, [address("root@example.org")]);
        let php = read("-t -i -fbounce@example.org").unwrap();
        assert_eq!((php.from_header, php.sender), (true, Some(ReversePath::Mailbox(address("bounce@example.org")))));
        let joined = read("-ti -f bounce@example.org -oi -- -odd@example.org <b@example.org>").unwrap();
        assert_eq!(joined.recipients, [address("-odd@example.org"), address("b@example.org")]);
        assert!(joined.from_header && !joined.dot_ends);
        assert_eq!(read("-bs").unwrap().mode, Mode::Smtp);
        assert_eq!(read("-f <> a@b.c").unwrap().sender, Some(ReversePath::Null));
        assert!(read("-v -em -N never -R hdrs -O DeliveryMode=b a@b.c").unwrap().dot_ends);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in ["-z", "-bp", "-f", "-f a@b@", "a@", "-tZ", "-bd"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
