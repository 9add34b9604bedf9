//! /etc/aliases: who reads the mail of root, postmaster and other names of this machine (aliases(5) of Sendmail and Postfix). A line is
//! `name: address, name, …`; a line that begins with a blank goes on; `#` begins a comment.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use posthaste_mail::Address;

/// The most names that one name may lead through: more than any list has, and an end to any circle.
const NAMES_MAX: usize = 10_000;

/// The aliases of a file, by their names in lower case.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// The file's name, for errors.
    file: String,
    /// Each with its line.
    by_name: HashMap<String, (usize, Vec<String>)>,
}

/// To whom a name leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Addresses, and names that lead no further.
    pub(super) names: Vec<String>,
    /// A program, a file or a list that it leads to as well, and that gets nothing.
    pub(super) left_out: Option<AliasError>,
}

/// Why a name leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AliasError {
    /// A kind of target that needs programs or files of this machine.
    #[error("{file}:{line}: {name} leads to {target}, and mail is handed to addresses only, not to programs, files or :include: lists")]
    Refused { file: String, line: usize, name: String, target: String },
    /// It leads back to itself, and to nobody else.
    #[error("{file}:{line}: {name} leads in a circle")]
    Circle { file: String, line: usize, name: String },
}

impl Aliases {
    /// The aliases of a file. One that is not there has none.
    pub(super) fn load(path: Option<&Path>) -> std::io::Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        match posthaste_host::files::read(path) {
            Ok(bytes) => Ok(Self::parse(&path.display().to_string(), &String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    fn parse(file: &str, text: &str) -> Self {
        let mut lines: Vec<(usize, String)> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            match lines.last_mut() {
                _ if line.trim().is_empty() || line.trim_start().starts_with('#') => {}
                Some((_, before)) if line.starts_with([' ', '\t']) => before.push_str(line),
                _ => lines.push((number, line.to_owned())),
            }
        }
        let parsed = lines.into_iter().filter_map(|(number, line)| {
            let (name, targets) = line.split_at(end_of_name(&line)?);
            Some((unquoted(name).to_ascii_lowercase(), (number, targets_of(&targets[1..]))))
        });
        Self { file: file.to_owned(), by_name: parsed.collect() }
    }

    /// Leads those of these names to an address that no line of the file leads elsewhere.
    pub(super) fn lead(&mut self, names: &[&str], to: &Address) {
        for name in names {
            self.by_name.entry((*name).to_owned()).or_insert_with(|| (0, vec![to.to_string()]));
        }
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// To whom a name leads. None: no alias has this name.
    pub(super) fn look_up(&self, name: &str) -> Option<Result<Found, AliasError>> {
        let (line, _) = self.by_name.get(&name.to_ascii_lowercase())?;
        let mut search = Search { of: self, seen: HashSet::new(), found: Vec::new(), refused: None };
        search.follow(name);
        let (file, line, name) = (self.file.clone(), *line, name.to_owned());
        Some(match (search.found.is_empty(), search.refused.into_iter().next()) {
            // Where somebody can be reached, what cannot be is no reason to reach nobody; but the caller is told.
            (false, left_out) => Ok(Found { names: search.found, left_out }),
            (true, Some(refused)) => Err(refused),
            (true, None) => Err(AliasError::Circle { file, line, name }),
        })
    }

    /// What no mail can be handed to, one error for each name that leads there, and how many of these lead to nobody at all.
    pub(super) fn errors(&self) -> (Vec<AliasError>, usize) {
        let mut nowhere = 0;
        let error = |name: &String| match self.look_up(name)? {
            Ok(found) => found.left_out,
            Err(error) => {
                nowhere += 1;
                Some(error)
            }
        };
        let mut errors: Vec<AliasError> = self.by_name.keys().filter_map(error).collect();
        errors.sort_by_key(ToString::to_string);
        (errors, nowhere)
    }
}

struct Search<'a> {
    of: &'a Aliases,
    seen: HashSet<String>,
    found: Vec<String>,
    refused: Option<AliasError>,
}

impl Search<'_> {
    fn follow(&mut self, start: &str) {
        let mut next = vec![start.to_owned()];
        while let Some(name) = next.pop() {
            let key = name.to_ascii_lowercase();
            if self.seen.len() >= NAMES_MAX || !self.seen.insert(key.clone()) {
                continue;
            }
            let Some((line, targets)) = self.of.by_name.get(&key) else {
                self.found.push(name);
                continue;
            };
            for target in targets.iter().rev() {
                match target.strip_prefix('\\') {
                    // It is meant to lead no further.
                    Some(last) => self.found.push(last.to_owned()),
                    None if is_refused(target) => {
                        let file = self.of.file.clone();
                        let refused = AliasError::Refused { file, line: *line, name: name.clone(), target: target.clone() };
                        self.refused.get_or_insert(refused);
                    }
                    // "root: root, ann@x" keeps a copy for root.
                    None if target.eq_ignore_ascii_case(&name) => self.found.push(target.clone()),
                    None => next.push(target.clone()),
                }
            }
        }
    }
}

fn is_refused(target: &str) -> bool {
    target.starts_with(['|', '/']) || target.get(..9).is_some_and(|start| start.eq_ignore_ascii_case(":include:"))
}

/// Where the colon behind a name stands, which may be quoted.
fn end_of_name(line: &str) -> Option<usize> {
    outside_quotes(line, ':').next()
}

fn targets_of(text: &str) -> Vec<String> {
    let mut from = 0;
    let ends: Vec<usize> = outside_quotes(text, ',').chain([text.len()]).collect();
    let parts = ends.into_iter().map(|end| {
        let part = &text[from..end];
        from = end + 1;
        unquoted(part)
    });
    parts.filter(|part| !part.is_empty()).collect()
}

fn outside_quotes(text: &str, wanted: char) -> impl Iterator<Item = usize> {
    let mut quoted = false;
    text.char_indices().filter_map(move |(at, c)| {
        quoted ^= c == '"';
        (c == wanted && !quoted).then_some(at)
    })
}

/// A name or a target without the quotes around the whole of it.
fn unquoted(text: &str) -> String {
    let text = text.trim();
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(text: &str, name: &str) -> Result<Vec<String>, String> {
        Aliases::parse("/etc/aliases", text)
            .look_up(name)
            .expect("there is such a name")
            .map(|found| found.names)
            .map_err(|error| error.to_string())
    }

    const USUAL: &str = "# See man 5 aliases for format\npostmaster:    root\nroot: ann@example.com,\n\tBob@example.com\n";

    #[test]
    fn a_name_leads_to_addresses_over_other_names() {
        let both = ["ann@example.com", "Bob@example.com"];
        for name in ["root", "ROOT", "Postmaster"] {
            let mut found = look(USUAL, name).unwrap();
            found.sort_by_key(|address| address.to_ascii_lowercase());
            assert_eq!(found, both, "{name}");
        }
        assert!(Aliases::parse("x", USUAL).look_up("ann").is_none());
        assert_eq!(look("\"a b\": \"c d\"@x.test, e", "a b").unwrap().len(), 2);
        assert_eq!(look("root: \\root", "root").unwrap(), ["root"]);
        assert_eq!(look("root: root, ann@x.test", "root").unwrap(), ["root", "ann@x.test"]);
    }

    #[test]
    fn a_circle_has_an_end() {
        assert_eq!(look("a: b\nb: c\nc: a", "a").unwrap_err(), "/etc/aliases:1: a leads in a circle");
        assert_eq!(look("a: b\nb: a, ann@x.test", "a").unwrap(), ["ann@x.test"]);
        let chain: String = (0..50_000).map(|n| format!("n{n}: n{}\n", n + 1)).collect();
        assert!(look(&chain, "n0").unwrap_err().contains("circle"), "and so has a chain without one");
    }

    #[test]
    fn programs_files_and_lists_are_refused_with_their_line() {
        for target in ["|/usr/bin/procmail", "\"|/usr/bin/list post x\"", "/var/mail/x", ":include:/etc/x", ":Include:/etc/x"] {
            let why = look(&format!("# first\nlist: {target}"), "list").unwrap_err();
            assert!(why.starts_with("/etc/aliases:2: list leads to ") && why.contains("programs, files"), "{why}");
        }
        let mixed = "list: \"|/usr/bin/archive\", ann@x.test";
        let found = Aliases::parse("/etc/aliases", mixed).look_up("list").unwrap().unwrap();
        assert_eq!(found.names, ["ann@x.test"], "who can be reached is reached");
        assert!(found.left_out.unwrap().to_string().contains("/etc/aliases:1: list leads to |/usr/bin/archive"));
        let (errors, nowhere) = Aliases::parse("x", "a: |b\nc: d\ne: d, /f").errors();
        assert_eq!((errors.len(), nowhere), (2, 1));
    }
}
