//! The file of curves: named plans, each with variants for some providers.
//!
//! ```toml
//! [curve.gentle]
//! caps = [50, 100, 200]             # or: start = 50, factor = 1.4, until = 100000
//! window = "08:00-20:00"
//! timezone = "Europe/Berlin"
//!
//! [curve.gentle.microsoft]          # what differs there
//! caps = [20, 40, 80]
//! ```
//!
//! `config/curves.toml` is embedded in the program and documents each key.

mod file;
mod keys;
mod value;

use std::{collections::BTreeMap, sync::Arc};

use toml::de::{DeTable, DeValue};

pub use self::file::CurveFileError;
use self::{
    file::{CurveFile, KeyedValue},
    keys::{CurveDraft, is_key},
};
use crate::plan::Plan;

/// The curves that ship with the program.
pub const SHIPPED: &str = include_str!("../../../../config/curves.toml");

/// The name of the embedded file in errors and in `why`.
pub const SHIPPED_NAME: &str = "config/curves.toml";

/// Plans by name and provider.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    named: BTreeMap<Arc<str>, NamedCurve>,
}

#[derive(Clone, Debug, PartialEq)]
struct NamedCurve {
    usual: Arc<Plan>,
    providers: BTreeMap<Arc<str>, Arc<Plan>>,
    file: Arc<str>,
    line: usize,
    /// The lines of its keys: `caps`, `microsoft.caps`.
    lines: BTreeMap<String, usize>,
}

impl Curves {
    /// The curves of a text, or all errors in it.
    pub fn parse(text: &str, file: &str) -> Result<Self, Vec<CurveFileError>> {
        Self::parse_some(text, file, true)
    }

    /// The curves of a text that holds other tables too, such as a configuration with `[curve.NAME]`; the other tables are ignored.
    pub fn parse_among_others(text: &str, file: &str) -> Result<Self, Vec<CurveFileError>> {
        Self::parse_some(text, file, false)
    }

    fn parse_some(text: &str, file: &str, only_curves: bool) -> Result<Self, Vec<CurveFileError>> {
        let mut file = CurveFile::new(text, file);
        let mut curves = Self::default();
        let (tree, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            file.complain("", error.span().unwrap_or(0..0), error.message().replace('\n', "; "));
        }
        if errors.is_empty() {
            for (key, item) in tree.get_ref() {
                match item.get_ref() {
                    DeValue::Table(table) if key.get_ref() == "curve" => curves.read(table, &mut file),
                    _ if only_curves || key.get_ref() == "curve" => {
                        file.complain(key.get_ref(), key.span(), "unknown; curves are tables: [curve.NAME]".into());
                    }
                    _ => {}
                }
            }
        }
        file.finish(curves)
    }

    /// The curves that ship with the program.
    pub fn shipped() -> Self {
        Self::parse(SHIPPED, SHIPPED_NAME).expect("the embedded curves are right")
    }

    /// These curves and those; of two curves of one name, the whole curve of `self` is taken.
    pub fn or(mut self, those: Self) -> Self {
        for (name, named) in those.named {
            self.named.entry(name).or_insert(named);
        }
        self
    }

    /// The plan of this name for this provider.
    pub fn plan(&self, name: &str, provider: &str) -> Option<&Arc<Plan>> {
        let named = self.named.get(name)?;
        Some(named.providers.get(provider).unwrap_or(&named.usual))
    }

    /// The names of all curves.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(|name| &**name)
    }

    /// The providers for which a curve has a variant.
    pub fn providers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.named.get(name).into_iter().flat_map(|named| named.providers.keys()).map(|provider| &**provider)
    }

    /// The file and the line that set a key for a provider: the variant's line, else the curve's own, else the line on which the
    /// curve begins, as the default then applies.
    pub fn origin(&self, name: &str, provider: &str, key: &str) -> Option<(&str, usize)> {
        let named = self.named.get(name)?;
        let line = named.lines.get(&format!("{provider}.{key}")).or_else(|| named.lines.get(key));
        Some((&named.file, line.copied().unwrap_or(named.line)))
    }

    fn read(&mut self, table: &DeTable<'_>, file: &mut CurveFile<'_>) {
        for (key, item) in table {
            let (name, line) = (key.get_ref().as_ref(), file.line(key.span().start));
            let path = format!("curve.{name}");
            let DeValue::Table(table) = item.get_ref() else {
                file.complain(&path, key.span(), format!("a curve is a table: [{path}]"));
                continue;
            };
            let (own, variants) = parted(table);
            let mut lines: BTreeMap<_, _> = own.iter().map(|(key, item)| ((*key).to_owned(), file.line(item.key.start))).collect();
            let mut draft = CurveDraft::default();
            draft.read(&own, &path, file);
            let mut providers = BTreeMap::new();
            for (provider, table) in variants {
                let path = format!("{path}.{provider}");
                let (differing, nested) = parted(table);
                lines.extend(differing.iter().map(|(key, item)| (format!("{provider}.{key}"), file.line(item.key.start))));
                let mut variant = draft.clone();
                variant.read(&differing, &path, file);
                for (nested, _) in nested {
                    file.complain(&format!("{path}.{nested}"), item.span(), "a variant has no variants".into());
                }
                let plan_name = format!("{name}.{provider}");
                providers.extend(variant.plan(&plan_name, &path, item.span(), file).map(|plan| (provider.into(), Arc::new(plan))));
            }
            if let Some(usual) = draft.plan(name, &path, item.span(), file) {
                let file = file.name();
                self.named.insert(name.into(), NamedCurve { usual: Arc::new(usual), providers, file, line, lines });
            }
        }
    }
}

/// The keys of a curve, and its variants: tables whose name is not a key.
type Parted<'t, 'i> = (Vec<(&'t str, KeyedValue<'t, 'i>)>, Vec<(&'t str, &'t DeTable<'i>)>);

fn parted<'t, 'i>(table: &'t DeTable<'i>) -> Parted<'t, 'i> {
    let (mut own, mut variants) = (Vec::new(), Vec::new());
    for (key, item) in table {
        let name = key.get_ref().as_ref();
        match item.get_ref() {
            DeValue::Table(table) if !is_key(name) => variants.push((name, table)),
            _ => own.push((name, KeyedValue { key: key.span(), value: item })),
        }
    }
    (own, variants)
}

#[cfg(test)]
mod tests;
