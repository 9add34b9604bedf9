//! The compiled rule set: the patterns of all rules in one automaton, which is run once over a text.

use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
    sync::{Arc, OnceLock},
};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use posthaste_mail::{Action, Class, Scope};

use crate::{
    context::Context,
    quoted::Quoted,
    rule::{CodePattern, EnhancedPattern, ProviderSigns, Rule, RuleError, RuleFile, error_at},
    text::normalise_pattern,
    verdict::{usual_scope, usual_why},
};

/// A compiled rule set.
#[derive(Debug)]
pub struct Rules {
    pub(crate) rules: Vec<CompiledRule>,
    /// Rules without text: those for any enhanced code, tried on every reply, then those for the codes of one subject (RFC 3463 §3).
    pub(crate) by_code: Vec<CodedRule>,
    pub(crate) by_subject: [Vec<CodedRule>; SUBJECTS],
    pub(crate) providers: Vec<ProviderSigns>,
    /// The names of providers and the ends of their host names.
    pub(crate) provider_names: HashMap<String, u16>,
    /// One for the literals in ASCII, and one for the others, which a reply in ASCII does not need.
    pub(crate) automata: [Automaton; 2],
    /// The targets that a literal of the automaton proves alone.
    pub(crate) hits: TargetLists,
    /// Per literal: the patterns with gaps that end with it.
    pub(crate) closes: Vec<Vec<u32>>,
    /// Per literal: whether a pattern with gaps contains it.
    pub(crate) in_gapped: Vec<bool>,
    pub(crate) gapped: Vec<GappedPattern>,
}

/// A compiled rule.
#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub(crate) rule: Rule,
    pub(crate) id: Arc<str>,
    pub(crate) why: Arc<str>,
    pub(crate) link: Option<Arc<str>>,
    pub(crate) providers: Vec<u16>,
    /// Written by the operator: it goes before all shipped rules.
    pub(crate) own: bool,
    /// The groups of patterns that have to be hit.
    pub(crate) needs: u8,
    /// It is about the recipient, its mailbox or its domain, so that it cannot be meant before RCPT.
    pub(crate) about_recipient: bool,
}

/// What a pattern proves: a group of a rule, or a provider (its index follows those of all rules).
#[derive(Debug, Clone, Copy)]
pub(crate) struct PatternTarget {
    pub(crate) index: u32,
    pub(crate) group: u8,
    pub(crate) length: u16,
}

/// A pattern with gaps, `recipient * not found`: literals in this order, with little between them.
#[derive(Debug)]
pub(crate) struct GappedPattern {
    pub(crate) literals: Vec<u32>,
    pub(crate) target: PatternTarget,
}

/// The targets of each literal, one list after the other, so that a look-up touches one place in memory.
#[derive(Debug)]
pub(crate) struct TargetLists {
    /// Where the targets of each literal begin; one entry more than there are literals.
    starts: Vec<u32>,
    targets: Vec<PatternTarget>,
}

impl TargetLists {
    fn new(lists: &[Vec<PatternTarget>]) -> Self {
        let mut starts = vec![0];
        let targets = lists.concat();
        starts.extend(lists.iter().scan(0, |end, list| {
            *end += list.len() as u32;
            Some(*end)
        }));
        Self { starts, targets }
    }

    pub(crate) fn of(&self, literal: usize) -> &[PatternTarget] {
        &self.targets[self.starts[literal] as usize..self.starts[literal + 1] as usize]
    }
}

/// A rule without text, with the codes that it may match: most rules are skipped without looking at the rule itself.
#[derive(Debug, Clone)]
pub(crate) struct CodedRule {
    codes: RangeInclusive<u16>,
    details: RangeInclusive<u16>,
    /// The rule is not limited to a provider.
    general: bool,
    pub(crate) index: u32,
}

impl CodedRule {
    fn new(index: u32, compiled: &CompiledRule) -> Self {
        let rule = &compiled.rule;
        let details = EnhancedPattern::details(&rule.enhanced);
        Self { codes: CodePattern::span(&rule.code), details, general: compiled.providers.is_empty(), index }
    }

    /// False if the rule certainly does not match. `detail` is the last number of the enhanced code; `known` says whether the provider is
    /// known.
    pub(crate) fn may_fit(&self, code: u16, detail: u16, known: bool) -> bool {
        (known || self.general) && self.details.contains(&detail) && self.codes.contains(&code)
    }
}

/// Subjects 0 to 7 of enhanced codes.
pub(crate) const SUBJECTS: usize = 8;

/// The group of `text`.
pub(crate) const TEXT: u8 = 1;
/// The group of `and`.
pub(crate) const AND: u8 = 2;
/// The group of `not`.
pub(crate) const NOT: u8 = 4;

/// A rule that does not decide one of its own examples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExampleFailure {
    /// The id of the rule.
    pub rule: String,
    /// Its example.
    pub example: String,
    /// The id of the rule that decided instead.
    pub decided_by: String,
}

impl Rules {
    /// The rules that ship with the program.
    pub fn shipped() -> &'static Self {
        static SHIPPED: OnceLock<Rules> = OnceLock::new();
        SHIPPED.get_or_init(|| Self::with(&[]).expect("a test compiles the shipped rules"))
    }

    /// The operator's rule files (name and TOML text), which go first, and the shipped ones. An operator's rule replaces the shipped rule
    /// of the same id.
    pub fn with(own: &[(&str, &str)]) -> Result<Self, RuleError> {
        let mut seen = HashSet::new();
        let mut build = RulesBuilder::default();
        for (name, text) in own {
            build.read(name, text, true, &mut seen)?;
        }
        let replaced = seen.clone();
        seen.clear();
        for (name, text) in SHIPPED {
            build.read(name, text, false, &mut seen)?;
        }
        build.rules.retain(|(rule, own)| *own || !replaced.contains(&rule.id));
        Ok(build.compile())
    }

    /// What the rule with this id means, in words, and whose page says so.
    pub fn meaning_of(&self, id: &str) -> Option<(&str, Option<&str>)> {
        self.rules.iter().find(|compiled| *compiled.id == *id).map(|compiled| (&*compiled.why, compiled.link.as_deref()))
    }

    /// Checks every rule against its own examples. It is no failure if an operator's rule decides the example of a shipped one.
    pub fn check_examples(&self) -> Vec<ExampleFailure> {
        let mut failures = Vec::new();
        for compiled in &self.rules {
            let rule = &compiled.rule;
            let context = Context { provider: rule.provider.first().map(String::as_str), mx_host: None };
            for example in &rule.example {
                let mut quoted = Quoted::read(example);
                quoted.stage = rule.stage.first().copied().or(quoted.stage);
                let verdict = self.classify_quoted(&quoted, &context);
                let taken = !compiled.own && self.rules.iter().any(|r| r.own && r.id == verdict.rule);
                if verdict.rule != compiled.id && !taken {
                    let (rule, example) = (rule.id.clone(), example.clone());
                    failures.push(ExampleFailure { rule, example, decided_by: verdict.rule.to_string() });
                }
            }
        }
        failures
    }

    /// The number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// True if there are no rules; never so with the shipped ones.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

/// An automaton that finds some of the literals in a text.
#[derive(Debug)]
pub(crate) struct Automaton {
    automaton: AhoCorasick,
    /// The literal of each pattern of the automaton.
    literals: Vec<u32>,
}

impl Automaton {
    fn new(literals: &[String], which: impl Fn(&str) -> bool) -> Self {
        let chosen = (0u32..).zip(literals).filter(|(_, l)| which(l));
        let (ids, texts): (Vec<u32>, Vec<&String>) = chosen.unzip();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            // It takes a fifteenth of a DFA's memory and so stays in the cache, which decides the speed here.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .dense_depth(3)
            .build(texts)
            .expect("a few thousand short literals fit an automaton");
        Self { automaton, literals: ids }
    }

    /// Every occurrence of a literal: the literal, its start and its end in bytes.
    pub(crate) fn places<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, usize, usize)> + 'a {
        self.automaton.find_overlapping_iter(text).map(|m| (self.literals[m.pattern().as_usize()] as usize, m.start(), m.end()))
    }
}

#[derive(Default)]
struct RulesBuilder {
    rules: Vec<(Rule, bool)>,
    providers: Vec<ProviderSigns>,
    literal_ids: HashMap<String, u32>,
    literals: Vec<String>,
    hits: Vec<Vec<PatternTarget>>,
    closes: Vec<Vec<u32>>,
    in_gapped: Vec<bool>,
    gapped: Vec<GappedPattern>,
}

impl RulesBuilder {
    fn read(&mut self, file: &str, text: &str, own: bool, seen: &mut HashSet<String>) -> Result<(), RuleError> {
        let read = RuleFile::read(file, text)?;
        for rule in read.rules {
            let at = rule.span().start;
            let rule = rule.into_inner();
            if !seen.insert(rule.id.clone()) {
                return Err(error_at(file, text, at, &format!("there are two rules with the id {:?}", rule.id)));
            }
            if let Some(p) = [&rule.text, &rule.and, &rule.not].into_iter().flatten().find(|p| is_blank(p)) {
                return Err(error_at(file, text, at, &format!("the pattern {p:?} of rule {:?} contains no letter or digit", rule.id)));
            }
            self.rules.push((rule, own));
        }
        self.providers.extend(read.providers);
        Ok(())
    }

    fn compile(mut self) -> Rules {
        let mut provider_names = HashMap::new();
        for (index, provider) in (0u16..).zip(&self.providers) {
            for name in provider.hosts.iter().chain([&provider.name]) {
                provider_names.insert(name.to_ascii_lowercase(), index);
            }
        }
        let rules: Vec<_> = std::mem::take(&mut self.rules).into_iter().map(|(r, own)| compile_rule(r, own, &provider_names)).collect();
        for (index, compiled) in (0u32..).zip(&rules) {
            let rule = &compiled.rule;
            for (group, patterns) in [(TEXT, &rule.text), (AND, &rule.and), (NOT, &rule.not)] {
                patterns.iter().for_each(|p| self.pattern(p, index, group));
            }
        }
        let providers = std::mem::take(&mut self.providers);
        for (index, provider) in (rules.len() as u32..).zip(&providers) {
            provider.signs.iter().for_each(|p| self.pattern(p, index, TEXT));
        }
        let without_text = (0u32..).zip(&rules).filter(|(_, r)| r.rule.text.is_empty());
        let coded: Vec<CodedRule> = without_text.map(|(index, r)| CodedRule::new(index, r)).collect();
        let enhanced = |c: &CodedRule| &rules[c.index as usize].rule.enhanced;
        let by_code = coded.iter().filter(|c| enhanced(c).is_empty()).cloned().collect();
        let by_subject =
            std::array::from_fn(|s| coded.iter().filter(|c| enhanced(c).iter().any(|e| e.may_fit_subject(s as u16))).cloned().collect());
        let Self { literals, hits, closes, in_gapped, gapped, .. } = self;
        let hits = TargetLists::new(&hits);
        let automata = [Automaton::new(&literals, str::is_ascii), Automaton::new(&literals, |l| !l.is_ascii())];
        Rules { rules, by_code, by_subject, providers, provider_names, automata, hits, closes, in_gapped, gapped }
    }

    fn pattern(&mut self, pattern: &str, index: u32, group: u8) {
        let pieces = pieces(pattern);
        let length = pieces.iter().map(String::len).sum::<usize>().min(usize::from(u16::MAX)) as u16;
        let target = PatternTarget { index, group, length };
        let ids: Vec<u32> = pieces.into_iter().map(|p| self.literal(p)).collect();
        match ids[..] {
            [] => {}
            [only] => self.hits[only as usize].push(target),
            [.., last] => {
                self.closes[last as usize].push(self.gapped.len() as u32);
                ids.iter().for_each(|id| self.in_gapped[*id as usize] = true);
                self.gapped.push(GappedPattern { literals: ids, target });
            }
        }
    }

    fn literal(&mut self, text: String) -> u32 {
        if let Some(id) = self.literal_ids.get(&text) {
            return *id;
        }
        let id = self.literals.len() as u32;
        self.literals.push(text.clone());
        self.literal_ids.insert(text, id);
        self.hits.push(Vec::new());
        self.closes.push(Vec::new());
        self.in_gapped.push(false);
        id
    }
}

fn compile_rule(rule: Rule, own: bool, names: &HashMap<String, u16>) -> CompiledRule {
    let needs = if rule.text.is_empty() { 0 } else { TEXT } | if rule.and.is_empty() { 0 } else { AND };
    CompiledRule {
        id: rule.id.as_str().into(),
        why: rule.why.as_deref().unwrap_or(usual_why(rule.class)).into(),
        link: rule.link.as_deref().map(Into::into),
        providers: rule.provider.iter().map(|p| names.get(&p.to_ascii_lowercase()).copied().unwrap_or(u16::MAX)).collect(),
        own,
        needs,
        about_recipient: is_about_recipient(&rule),
        rule,
    }
}

/// Whether a rule is about the recipient. Words about a domain are too; a code alone may speak for the whole host (521, RFC 7504 §3).
fn is_about_recipient(rule: &Rule) -> bool {
    match rule.class {
        Class::InvalidRecipient | Class::InactiveMailbox | Class::MailboxFull => true,
        Class::BadDomain if !rule.text.is_empty() => true,
        class => rule.scope.unwrap_or_else(|| usual_scope(class)) == Scope::Recipient || rule.action == Some(Action::Suppress),
    }
}

/// The literals of a pattern, in the normalised form of the text. The first has to start a word unless the pattern begins with `*` or
/// with a letter outside ASCII.
fn pieces(pattern: &str) -> Vec<String> {
    let mut pieces: Vec<String> = pattern.split('*').map(normalise_pattern).filter(|p| !p.trim().is_empty()).collect();
    if let Some(first) = pieces.first_mut()
        && pattern.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        first.insert(0, ' ');
    }
    pieces
}

fn is_blank(pattern: &str) -> bool {
    normalise_pattern(pattern).trim().is_empty()
}

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        /// The files of `config/bounce/`, embedded.
        const SHIPPED: &[(&str, &str)] = &[$((concat!("config/bounce/", $name), include_str!(concat!("../../../config/bounce/", $name)))),*];
    };
}
shipped!("codes.toml", "texts.toml", "lists.toml", "software.toml", "providers.toml", "languages.toml", "subjects.toml", "whose.toml");
