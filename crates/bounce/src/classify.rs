//! The decision: of all rules that fit a reply, the one with the highest confidence.

use std::sync::Arc;

use posthaste_mail::{Action, Class, Failure, Scope, Stage};

use crate::{
    context::Context,
    phrase,
    quoted::Quoted,
    rules::{CompiledRule, NOT, PatternTarget, Rules, TEXT},
    text::normalise,
    verdict::{Verdict, usual_action, usual_scope},
};

impl Rules {
    /// Classifies a live failure.
    pub fn classify(&self, failure: &Failure, context: &Context<'_>) -> Verdict {
        match failure {
            Failure::Local { cause, .. } => Verdict::on_local(*cause),
            Failure::Refused { .. } => self.classify_quoted(&Quoted::from(failure), context),
        }
    }

    /// Classifies a quoted reply: `550 5.1.1 no`, `smtp; 550 …`, or a text without codes.
    pub fn classify_text(&self, raw: &str, provider: Option<&str>) -> Verdict {
        self.classify_quoted(&Quoted::read(raw), &Context { provider, mx_host: None })
    }

    /// Classifies a reply that is already split into its parts.
    pub fn classify_quoted(&self, quoted: &Quoted, context: &Context<'_>) -> Verdict {
        let Some(reason) = phrase::reason(&quoted.text) else { return self.judge(&quoted.text, quoted, context).0 };
        let (verdict, is_read) = self.judge(reason.text, quoted, context);
        // What the RFC says of a mailbox is no reason; what it says of the host is one if no other is understood.
        if is_read || reason.instead_of_a_mailbox { verdict } else { self.judge(&quoted.text, quoted, context).0 }
    }

    /// The verdict by these words of a reply and by its codes, and whether a rule knows the words.
    fn judge(&self, text: &str, quoted: &Quoted, context: &Context<'_>) -> (Verdict, bool) {
        let seen = self.scan(&normalise(text));
        let facts = ReplyFacts { code: effective_code(quoted), quoted, told: self.told(context), signed: self.signed(&seen) };
        let words = Words::new(seen.touched.iter().filter_map(|i| self.candidate(*i, &facts, &seen)));
        let is_read = words.surest().is_some();
        // A reason of the receiver's own that no rule knows may be any: the basic code does not say that it is about the mailbox.
        let is_unread = !is_read && text.len() < quoted.text.len();
        let (detail, known) = (quoted.enhanced.map_or(0, |e| e.detail), !facts.is_nobody_known());
        let of_subject = quoted.enhanced.and_then(|e| self.by_subject.get(usize::from(e.subject))).into_iter().flatten();
        let coded = of_subject
            .chain(&self.by_code)
            .filter(|c| c.may_fit(facts.code, detail, known))
            .filter_map(|c| self.candidate(c.index, &facts, &seen))
            .filter(|found| !(is_unread && found.compiled.about_recipient && found.compiled.rule.enhanced.is_empty()))
            .fold(None, surer);
        let verdict = match surer_of(&words, coded) {
            Some(best) => verdict(best, coded, &words, &facts, self.page(best.compiled, &facts)),
            None => Verdict { permanent: facts.is_permanent() && facts.is_about_mail(), ..unknown(facts.is_permanent()) },
        };
        (verdict, is_read)
    }

    /// Runs the automata once over the text.
    fn scan(&self, text: &str) -> TextMatches {
        let mut seen = TextMatches { hits: vec![(0, 0); self.rules.len() + self.providers.len()], touched: Vec::with_capacity(32) };
        let mut places: Vec<LiteralMatch> = Vec::new();
        let needed = if text.is_ascii() { &self.automata[..1] } else { &self.automata[..] };
        for (literal, start, end) in needed.iter().flat_map(|a| a.places(text)) {
            self.hits.of(literal).iter().for_each(|t| seen.hit(*t));
            if self.in_gapped[literal] && places.len() < PLACES_MAX {
                places.push(LiteralMatch { literal: literal as u32, start: start as u32, end: end as u32 });
            }
        }
        for last in &places {
            for index in &self.closes[last.literal as usize] {
                let gapped = &self.gapped[*index as usize];
                if in_order(&gapped.literals, last, &places) {
                    seen.hit(gapped.target);
                }
            }
        }
        seen.touched.retain(|i| (*i as usize) < self.rules.len());
        seen
    }

    /// The provider whose reply this is, by the caller's context.
    fn told(&self, context: &Context<'_>) -> Option<u16> {
        [context.provider, context.mx_host].into_iter().flatten().find_map(|name| {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let mut rest = name.as_str();
            loop {
                // A bare name has to match whole; only the end of a host name may match after a dot.
                if let Some(index) = self.provider_names.get(rest).filter(|_| rest.contains('.') || rest == name) {
                    return Some(*index);
                }
                rest = rest.split_once('.')?.1;
            }
        })
    }

    /// The provider whose words these are: a gateway may pass on the reply of the receiver behind it.
    fn signed(&self, seen: &TextMatches) -> Option<u16> {
        seen.hits[self.rules.len()..].iter().position(|(mask, _)| *mask != 0).map(|i| i as u16)
    }

    /// The page that the rule names, else that of the provider whose words these are, else that of the provider that replied.
    fn page(&self, compiled: &CompiledRule, facts: &ReplyFacts<'_>) -> Option<Arc<str>> {
        let of_provider = || [facts.signed, facts.told].into_iter().flatten().find_map(|p| self.providers[usize::from(p)].page.clone());
        compiled.link.clone().or_else(of_provider)
    }

    fn candidate<'r>(&'r self, index: u32, facts: &ReplyFacts<'_>, seen: &TextMatches) -> Option<RuleMatch<'r>> {
        let compiled = &self.rules[index as usize];
        let (mask, length) = seen.hits[index as usize];
        if mask & compiled.needs != compiled.needs || mask & NOT != 0 || !facts.fit(compiled) {
            return None;
        }
        let home = match compiled.providers[..] {
            [] => 0.0,
            _ if facts.is_nobody_known() => HOMELESS,
            _ => AT_HOME,
        };
        let sureness = compiled.rule.confidence + home;
        Some(RuleMatch { compiled, sureness, rank: sureness + if compiled.own { OWN_FIRST } else { 0.0 }, length })
    }
}

/// The most matches that are kept for gapped patterns: a text made only of patterns must not cost time.
const PLACES_MAX: usize = 128;
/// The widest gap that `*` matches, in bytes.
const GAP_MAX: u32 = 60;
/// Added to the confidence of a rule about the provider that replied: it goes before an equal general rule.
const AT_HOME: f32 = 0.04;
/// Added to the confidence of a rule about one provider if it is unknown who replied.
const HOMELESS: f32 = -0.1;
/// Added to the confidence of the operator's rules: they go before all others.
const OWN_FIRST: f32 = 10.0;

/// The patterns found in a text.
struct TextMatches {
    /// Per rule, then per provider: the groups hit, and the length of the longest `text` pattern found.
    hits: Vec<(u8, u16)>,
    touched: Vec<u32>,
}

impl TextMatches {
    fn hit(&mut self, target: PatternTarget) {
        let (mask, length) = &mut self.hits[target.index as usize];
        if target.group == TEXT {
            if *mask & TEXT == 0 {
                self.touched.push(target.index);
            }
            *length = target.length.max(*length);
        }
        *mask |= target.group;
    }
}

/// A literal found in the text, with its place in bytes.
struct LiteralMatch {
    literal: u32,
    start: u32,
    end: u32,
}

/// Whether the literals occur in this order, near each other, and end with `last`. Neighbours may share the blank between them.
fn in_order(literals: &[u32], last: &LiteralMatch, places: &[LiteralMatch]) -> bool {
    let Some((closing, before)) = literals.split_last() else { return true };
    if *closing != last.literal {
        return false;
    }
    let Some(previous) = before.last() else { return true };
    places.iter().any(|p| {
        p.literal == *previous && p.end <= last.start + 1 && last.start.saturating_sub(p.end) <= GAP_MAX && in_order(before, p, places)
    })
}

/// What is known of the reply besides its words.
struct ReplyFacts<'a> {
    code: u16,
    quoted: &'a Quoted,
    /// The provider by the caller's context.
    told: Option<u16>,
    /// The provider whose words these are.
    signed: Option<u16>,
}

impl ReplyFacts<'_> {
    fn fit(&self, compiled: &CompiledRule) -> bool {
        let rule = &compiled.rule;
        let any_or_none = |empty: bool, any: bool| empty || any;
        (!compiled.about_recipient || self.may_be_about_recipient())
            && any_or_none(rule.code.is_empty(), rule.code.iter().any(|c| c.fits(self.code)))
            && any_or_none(rule.enhanced.is_empty(), self.quoted.enhanced.is_some_and(|e| rule.enhanced.iter().any(|p| p.fits(e))))
            && any_or_none(rule.stage.is_empty(), self.quoted.stage.is_some_and(|s| rule.stage.contains(&s)))
            && match compiled.providers[..] {
                [] => true,
                // Words that only one provider uses decide even if its name is unknown; its use of a code does not.
                _ if self.is_nobody_known() => !rule.text.is_empty(),
                _ => [self.told, self.signed].into_iter().flatten().any(|p| compiled.providers.contains(&p)),
            }
    }

    /// Whether a recipient was named when the receiver said it (RFC 5321 §3.3), as far as that is known.
    fn may_be_about_recipient(&self) -> bool {
        matches!(self.quoted.stage, None | Some(Stage::Rcpt | Stage::Data | Stage::Dot))
    }

    /// Whether a sender or a message was known when the receiver said it. What it says before, to our connection or to our name, is about us,
    /// and what it says to us is over sooner than a message's life: a listing that is lifted, a name that is set right, the host of a farm
    /// that is out of order. So a 5xx there is tried again, as Postfix (smtp_skip_5xx_greeting) and PowerMTA (bounce-upon-5xx-greeting) do.
    fn is_about_mail(&self) -> bool {
        !matches!(self.quoted.stage, Some(Stage::Connect | Stage::Banner | Stage::Ehlo))
    }

    /// Whether a host says of itself, not of us, that it takes no mail from anybody: 521 in place of a greeting (RFC 7504 §3), or the words of
    /// a null MX (RFC 7505 §4). Receivers that block an address answer 521 too, with X.7 or with words about the address.
    fn takes_no_mail(&self) -> bool {
        let text = self.quoted.text.to_ascii_lowercase();
        matches!(self.code, 521 | 556)
            && self.quoted.enhanced.is_none_or(|e| e.subject != 7)
            && NO_MAIL.iter().any(|words| text.contains(words))
            && !ABOUT_US.iter().any(|words| text.contains(words))
    }

    /// Whether the reply is for all recipients of the transaction at once.
    fn is_for_all(&self) -> bool {
        matches!(self.quoted.stage, Some(Stage::Data | Stage::Dot))
    }

    fn is_nobody_known(&self) -> bool {
        self.told.is_none() && self.signed.is_none()
    }

    /// Whether the reply is a 5xx.
    fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

/// The basic code, or the class of the enhanced one as a basic code.
fn effective_code(quoted: &Quoted) -> u16 {
    match (quoted.code, quoted.enhanced) {
        (0, Some(enhanced)) => u16::from(enhanced.class) * 100,
        (code, _) => code,
    }
}

#[derive(Clone, Copy)]
struct RuleMatch<'r> {
    compiled: &'r CompiledRule,
    /// Its confidence here.
    sureness: f32,
    /// The same, with the operator's rules before all others.
    rank: f32,
    length: u16,
}

fn surer<'r>(best: Option<RuleMatch<'r>>, next: RuleMatch<'r>) -> Option<RuleMatch<'r>> {
    match best {
        Some(b) if (b.rank, b.length) >= (next.rank, next.length) => Some(b),
        _ => Some(next),
    }
}

/// The rules whose words a reply has: the surest about its recipient, and the surest about anything else.
struct Words<'r> {
    about_recipient: Option<RuleMatch<'r>>,
    about_else: Option<RuleMatch<'r>>,
}

impl<'r> Words<'r> {
    fn new(matches: impl Iterator<Item = RuleMatch<'r>>) -> Self {
        matches.fold(Self { about_recipient: None, about_else: None }, |mut words, next| {
            let best = if next.compiled.about_recipient { &mut words.about_recipient } else { &mut words.about_else };
            *best = surer(*best, next);
            words
        })
    }

    fn surest(&self) -> Option<RuleMatch<'r>> {
        [self.about_recipient, self.about_else].into_iter().flatten().fold(None, surer)
    }

    /// Whether other words of the reply blame something else than the recipient. A code alone is contradicted by any such words that are
    /// surer than those about the recipient.
    fn contradict(&self, best: RuleMatch<'_>) -> bool {
        let sureness = |found: Option<RuleMatch<'_>>| found.map_or(0.0, |m| m.sureness);
        let worded = !best.compiled.rule.text.is_empty();
        let least = if worded { CONTRADICTS } else { CONTRADICTS_A_CODE.max(sureness(self.about_recipient)) };
        sureness(self.about_else) >= least
    }
}

/// Words about something else than the recipient with at least this sureness keep words about the recipient from suppressing it.
const CONTRADICTS: f32 = 0.72;
/// The same for a recipient verdict that no words support.
const CONTRADICTS_A_CODE: f32 = 0.3;

/// The surer of the words and the code; words go before if both are equally sure. A general code for the recipient (5.1.1) goes behind
/// clear words about something else: many receivers send one code for everything.
fn surer_of<'r>(words: &Words<'r>, coded: Option<RuleMatch<'r>>) -> Option<RuleMatch<'r>> {
    match (words.surest(), coded) {
        (Some(t), Some(c)) => {
            let wrong_code =
                c.compiled.about_recipient && !t.compiled.about_recipient && c.sureness < SURE_CODE && t.sureness >= CLEAR_WORDS;
            Some(if t.rank >= c.rank || (wrong_code && !c.compiled.own) { t } else { c })
        }
        (t, c) => t.or(c),
    }
}

/// Codes that one receiver has given a meaning are at least this sure.
const SURE_CODE: f32 = 0.85;
/// Words that are at least this sure are clear.
const CLEAR_WORDS: f32 = 0.6;

fn verdict(
    best: RuleMatch<'_>,
    coded: Option<RuleMatch<'_>>,
    words: &Words<'_>,
    facts: &ReplyFacts<'_>,
    link: Option<Arc<str>>,
) -> Verdict {
    let rule = &best.compiled.rule;
    let confidence = match coded {
        // Two rules agree: both have to be wrong for the verdict to be wrong.
        Some(c) if c.compiled.id != best.compiled.id && c.compiled.rule.class == rule.class => {
            1.0 - (1.0 - rule.confidence) * (1.0 - c.compiled.rule.confidence)
        }
        _ => rule.confidence,
    };
    let lasting = is_final(best.compiled, confidence, facts);
    let permanent = lasting && (facts.is_about_mail() || best.compiled.rule.permanent == Some(true) || facts.takes_no_mail());
    Verdict {
        class: rule.class,
        scope: rule.scope.unwrap_or_else(|| usual_scope(rule.class)),
        action: rule.action.unwrap_or_else(|| match usual_action(rule.class, lasting, confidence) {
            Action::Suppress if facts.is_for_all() || words.contradict(best) => Action::None,
            // The lane is a source at a provider: what is wrong with a domain, a message or a name of ours stands still with it alone.
            Action::PauseLane if matches!(rule.scope, Some(Scope::SenderDomain | Scope::Message | Scope::Recipient | Scope::Local)) => {
                Action::FixConfiguration
            }
            Action::None if lasting && !permanent => Action::Retry,
            usual => usual,
        }),
        permanent,
        confidence,
        rule: best.compiled.id.clone(),
        why: best.compiled.why.clone(),
        link,
    }
}

/// A 4xx is never final. A 5xx is, unless the rule, or words with enough confidence, say that the trouble passes.
fn is_final(compiled: &CompiledRule, confidence: f32, facts: &ReplyFacts<'_>) -> bool {
    let rule = &compiled.rule;
    let passing = matches!(rule.class, Class::RateLimited | Class::Greylisting | Class::MailboxFull);
    let lasting = !matches!(rule.class, Class::ConnectionFailure | Class::DnsFailure | Class::TransientOther | Class::AutoReply);
    match facts.code / 100 {
        5 => rule.permanent.unwrap_or(!(passing && !rule.text.is_empty() && confidence >= SURELY_PASSING)),
        0 => rule.permanent.unwrap_or(lasting && !passing),
        _ => false,
    }
}

/// The words of hosts that take no mail at all.
const NO_MAIL: [&str; 8] = [
    "not accept mail",
    "not accept any mail",
    "not accept email",
    "accepts no mail",
    "no mail accepted",
    "not a mail server",
    "null mx",
    "nullmx",
];

/// With one of these, such words are about the client: "does not accept mail from 192.0.2.4".
const ABOUT_US: [&str; 5] = ["from", "your", "you ", "blocked", "listed"];

/// A 5xx is tried again only if the words have at least this confidence.
const SURELY_PASSING: f32 = 0.8;

/// The verdict when no rule fits and only the kind of code is known.
fn unknown(permanent: bool) -> Verdict {
    let class = if permanent { Class::PolicyAuth } else { Class::TransientOther };
    Verdict {
        class,
        scope: usual_scope(class),
        action: usual_action(class, permanent, 0.0),
        permanent,
        confidence: 0.0,
        rule: "unknown".into(),
        why: "no rule matches this reply".into(),
        link: None,
    }
}
