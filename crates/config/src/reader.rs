//! Reads two trees at once, the operator's over the defaults, and collects every error instead of stopping at the first.
//!
//! Defaults are in the embedded `config/posthaste.toml`: a key that the operator left out or got wrong takes its value from there. So
//! reading always continues to the end, and the code contains no defaults.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use posthaste_mail::Name;
use toml::de::DeTable;

pub(super) use super::document::{Item, Parsed, a, fault};
use super::{
    document::{Document, Fault},
    error::ConfigError,
    suggest::suggest,
};
use crate::origins::{Lines, Origin};

/// One reading of the operator's tree over the defaults.
pub(super) struct Reading<'r> {
    user: &'r Document<'r>,
    base: &'r Document<'r>,
    errors: RefCell<Vec<ConfigError>>,
    lines: RefCell<Lines>,
    known: RefCell<BTreeSet<String>>,
}

/// What a reading collected besides the values.
pub(super) struct Findings {
    /// All errors, by line.
    pub(super) errors: Vec<ConfigError>,
    /// Where the values come from.
    pub(super) lines: Lines,
    /// Every key that was asked for, with `*` for names: `source.*.address`.
    pub(super) known: BTreeSet<String>,
}

impl<'r> Reading<'r> {
    pub(super) fn new(user: &'r Document<'r>, base: &'r Document<'r>) -> Self {
        Self { user, base, errors: RefCell::default(), lines: RefCell::default(), known: RefCell::default() }
    }

    /// Reads the whole tree with `read`. Keys that `read` did not ask for are errors.
    pub(super) fn root<T>(&'r self, read: impl FnOnce(&Table<'r>) -> T) -> T {
        let (user, base) = (Some(self.user.tree.get_ref()), Some(self.base.tree.get_ref()));
        let table = Table {
            reading: self,
            path: String::new(),
            pattern: String::new(),
            header: None,
            user,
            base,
            taken: RefCell::default(),
            open: Cell::default(),
        };
        table.read(read)
    }

    pub(super) fn finish(self) -> Findings {
        let mut errors = self.errors.into_inner();
        errors.sort_by(|a, b| (a.line, a.column, &a.key).cmp(&(b.line, b.column, &b.key)));
        errors.dedup();
        Findings { errors, lines: self.lines.into_inner(), known: self.known.into_inner() }
    }
}

/// A table of the operator's file, if present, over the table of defaults, if there is one.
pub(super) struct Table<'r> {
    reading: &'r Reading<'r>,
    path: String,
    pattern: String,
    /// Where the operator wrote it; None: nowhere.
    header: Option<Range<usize>>,
    user: Option<&'r DeTable<'r>>,
    base: Option<&'r DeTable<'r>>,
    taken: RefCell<BTreeSet<String>>,
    /// Its keys are the operator's choice.
    open: Cell<bool>,
}

impl<'r> Table<'r> {
    /// The value of `key`: the operator's, or the default if that is missing or wrong.
    pub(super) fn get<T>(&self, key: &str, parse: impl Fn(Item<'r>) -> Parsed<T>) -> T {
        if let Some(value) = self.given(key, &parse) {
            return value;
        }
        let item = self.base.and_then(|t| t.get(key)).unwrap_or_else(|| panic!("config/posthaste.toml gives {}", self.key(key)));
        let line = self.reading.base.line(item.span().start);
        if self.user.is_none_or(|t| !t.contains_key(key)) {
            self.reading.lines.borrow_mut().record(self.key(key), Origin::Default { line });
        }
        parse(item).unwrap_or_else(|faults| panic!("config/posthaste.toml:{line} is right: {faults:?}"))
    }

    /// The operator's value of a key that has no default; None if it is missing or wrong.
    pub(super) fn given<T>(&self, key: &str, parse: impl Fn(Item<'r>) -> Parsed<T>) -> Option<T> {
        self.take(key);
        let item = self.user?.get(key)?;
        let line = self.reading.user.line(item.span().start);
        self.reading.lines.borrow_mut().record(self.key(key), Origin::File { file: self.reading.user.file.clone(), line });
        match parse(item) {
            Ok(value) => Some(value),
            Err(faults) => {
                faults.into_iter().for_each(|f| self.complain_fault(key, f));
                None
            }
        }
    }

    /// The operator's value of a required key; None after an error.
    pub(super) fn need<T>(&self, key: &str, parse: impl Fn(Item<'r>) -> Parsed<T>) -> Option<T> {
        let value = self.given(key, parse);
        if !self.has(key) {
            self.complain(key, self.header.as_ref(), "missing; it has no default".into());
        }
        value
    }

    /// The operator's whole file and its name, if it has `key`: for a table that a library reads by itself.
    pub(super) fn leave(&self, key: &str) -> Option<(&'r str, &'r str)> {
        self.take(key);
        self.has(key).then_some((self.reading.user.text, &*self.reading.user.file))
    }

    /// Adds an error whose place is known already, which may be in another file.
    pub(super) fn report(&self, error: ConfigError) {
        self.reading.errors.borrow_mut().push(error);
    }

    /// Whether the operator's file gives `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.user.is_some_and(|t| t.contains_key(key))
    }

    /// Whether the value of `key`, or anything in it, is wrong already. What takes its place is not the operator's, and must not be blamed.
    pub(super) fn is_spoilt(&self, key: &str) -> bool {
        let path = self.key(key);
        let within = |error: &ConfigError| error.key.strip_prefix(&path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.reading.errors.borrow().iter().any(within)
    }

    /// The same for a value further in, by its path.
    pub(super) fn is_spoilt_at(&self, path: &[&str]) -> bool {
        match path {
            [] => false,
            [key] => self.is_spoilt(key),
            [first, rest @ ..] => self.child(first, first, None, None, None).is_spoilt_at(rest),
        }
    }

    /// Reports that the value of `key` in force does not fit the rest: at its line, or at the table's line if it is a default. A value that is
    /// wrong already is reported only once.
    pub(super) fn object(&self, key: &str, message: impl Into<String>) {
        if self.is_spoilt(key) {
            return;
        }
        match self.user.and_then(|t| t.get(key)) {
            Some(item) => self.complain_of(key, &item.span(), message.into()),
            None => self.complain(key, self.header.as_ref(), message.into()),
        }
    }

    /// The same for several keys that do not fit together: at the first of them that the operator gave.
    pub(super) fn object_to(&self, keys: &[&str], message: impl Into<String>) {
        if keys.iter().any(|key| self.is_spoilt(key)) {
            return;
        }
        let given = keys.iter().find(|key| self.has(key)).or(keys.first()).expect("there is a key to object to");
        self.object(given, message);
    }

    /// The same for a value further in, by its path.
    pub(super) fn object_at(&self, path: &[&str], message: String) {
        let (first, rest) = path.split_first().expect("a path has an end");
        if rest.is_empty() {
            self.object(first, message);
        } else {
            let (header, user) = self.inner(first);
            self.child(first, first, header, user, None).object_at(rest, message);
        }
    }

    /// Whether the operator's `key` is a table.
    pub(super) fn is_table(&self, key: &str) -> bool {
        self.user.and_then(|t| t.get(key)).is_some_and(|item| item.get_ref().is_table())
    }

    /// A table inside this one.
    pub(super) fn table<T>(&self, key: &str, read: impl FnOnce(&Table<'r>) -> T) -> T {
        self.take(key);
        let (header, user) = self.inner(key);
        let base = self.base.and_then(|t| t.get(key)).and_then(|item| item.get_ref().as_table());
        self.child(key, key, header, user, base).read(read)
    }

    /// The tables inside table `key`, which the operator names; only `default` if there are none, or (`always`) in addition to them.
    /// Keys left out take the values of the defaults' `default`.
    pub(super) fn named<T>(&self, key: &str, always: bool, mut read: impl FnMut(&Table<'r>, &Name) -> T) -> BTreeMap<Name, T> {
        self.table(key, |outer| {
            outer.open.set(true);
            let template = outer.base.and_then(|t| t.get("default")).and_then(|item| item.get_ref().as_table());
            let mut words: BTreeSet<&str> = outer.words(outer.user).collect();
            if always || words.is_empty() {
                words.insert("default");
            }
            let mut all = BTreeMap::new();
            for word in words {
                outer.take(word);
                let (header, user) = outer.inner(word);
                let table = outer.child(word, "*", header, user, template);
                match Name::new(word) {
                    Ok(name) => drop(all.insert(name.clone(), table.read(|t| read(t, &name)))),
                    Err(error) => outer.reading.complain(&table.path, table.header.as_ref(), None, error.to_string()),
                }
            }
            all
        })
    }

    /// Reads every entry of this table, whose keys the operator chose. No two of them may have the same meaning.
    pub(super) fn entries<K: PartialEq, T>(
        &self,
        parse_key: impl Fn(&str) -> Result<K, String>,
        read: impl Fn(&Table<'r>, &str) -> Option<T>,
    ) -> Vec<(K, T)> {
        self.open.set(true);
        let mut all: Vec<(K, T)> = Vec::new();
        for word in self.words(self.user) {
            self.take(word);
            let value = read(self, word);
            match parse_key(word) {
                Ok(key) if all.iter().any(|(other, _)| *other == key) => {
                    self.complain(word, self.place(word).as_ref(), "is given twice".into())
                }
                Ok(key) => all.extend(value.map(|value| (key, value))),
                Err(message) => self.complain(word, self.place(word).as_ref(), message),
            }
        }
        all
    }

    /// The table that is entry `word` of a table of [`Self::entries`].
    pub(super) fn entry<T>(&self, word: &str, read: impl FnOnce(&Table<'r>) -> T) -> T {
        let (header, user) = self.inner(word);
        self.child(word, "*", header, user, None).read(read)
    }

    /// Reads a table that is a value (in an array, or inline). Errors name `key`.
    pub(super) fn inline<T>(&self, key: &str, item: Item<'r>, read: impl FnOnce(&Table<'r>) -> T) -> Option<T> {
        let Some(table) = item.get_ref().as_table() else {
            self.complain_of(key, &item.span(), format!("expected a table, {{ … }}, found {}", a(item.get_ref().type_str())));
            return None;
        };
        Some(self.child(key, key, Some(item.span()), Some(table), None).read(read))
    }

    fn read<T>(self, read: impl FnOnce(&Table<'r>) -> T) -> T {
        let value = read(&self);
        let taken = self.taken.borrow();
        for word in self.words(self.user).filter(|word| !taken.contains(*word)) {
            self.complain(word, self.place(word).as_ref(), suggest(word, &taken));
        }
        drop(taken);
        value
    }

    fn child(
        &self,
        key: &str,
        pattern: &str,
        header: Option<Range<usize>>,
        user: Option<&'r DeTable<'r>>,
        base: Option<&'r DeTable<'r>>,
    ) -> Table<'r> {
        let (path, pattern) = (self.key(key), join(&self.pattern, pattern));
        Table { reading: self.reading, path, pattern, header, user, base, taken: RefCell::default(), open: Cell::default() }
    }

    /// Place and content of the operator's table `key`; an error if it is something else.
    fn inner(&self, key: &str) -> (Option<Range<usize>>, Option<&'r DeTable<'r>>) {
        let Some(item) = self.user.and_then(|t| t.get(key)) else { return (self.header.clone(), None) };
        let table = item.get_ref().as_table();
        if table.is_none() {
            let message = format!("expected a table, [{}], found {}", self.key(key), a(item.get_ref().type_str()));
            self.complain_of(key, &item.span(), message);
        }
        (self.place(key), table)
    }

    /// Where the operator wrote the word `key`.
    fn place(&self, key: &str) -> Option<Range<usize>> {
        self.user.and_then(|t| t.get_key_value(key)).map_or_else(|| self.header.clone(), |(word, _)| Some(word.span()))
    }

    fn words(&self, table: Option<&'r DeTable<'r>>) -> impl Iterator<Item = &'r str> + use<'r> {
        table.into_iter().flat_map(|t| t.iter()).map(|(word, _)| word.get_ref().as_ref())
    }

    fn take(&self, key: &str) {
        let pattern = if self.open.get() { "*" } else { key };
        self.taken.borrow_mut().insert(key.to_owned());
        self.reading.known.borrow_mut().insert(join(&self.pattern, pattern));
    }

    fn key(&self, key: &str) -> String {
        let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if bare { join(&self.path, key) } else { join(&self.path, &format!("{key:?}")) }
    }

    fn complain(&self, key: &str, place: Option<&Range<usize>>, message: String) {
        self.reading.complain(&self.key(key), place, None, message);
    }

    fn complain_fault(&self, key: &str, fault: Fault) {
        let error = self.reading.user.error(self.key(key), Some(&fault.span), Some(&fault.span), fault.message);
        self.reading.errors.borrow_mut().push(ConfigError { unread: fault.unread, ..error });
    }

    fn complain_of(&self, key: &str, value: &Range<usize>, message: String) {
        self.reading.complain(&self.key(key), Some(value), Some(value), message);
    }
}

impl Reading<'_> {
    fn complain(&self, key: &str, span: Option<&Range<usize>>, value: Option<&Range<usize>>, message: String) {
        self.errors.borrow_mut().push(self.user.error(key.to_owned(), span, value, message));
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
