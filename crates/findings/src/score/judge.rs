//! What a key's mail comes to.

use jiff::civil::Date;
use serde::Serialize;

use super::{Cause, Factor, History, Measure, Settings, Share};
use crate::interval::lower_end;

/// A view of the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// The last days, where older ones count less.
    Days,
    /// The last 24 hours alone.
    LastDay,
}

/// What a key's mail comes to, unrounded: made from counts, or as a mean of others.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// From 0 to 100.
    pub(super) points: f64,
    /// What is left of each factor, from 0 to 1; None: not measured.
    pub(super) factors: [Option<f64>; Factor::ALL.len()],
    /// What it lacks to 100.
    pub(super) lost: Vec<Lost>,
    /// Which view counted; None: some parts have it from one, some from the other.
    pub(super) window: Option<Window>,
    /// What each view comes to, in the order of [`Window`]; None: too little mail for it.
    pub(super) views: [Option<f64>; 2],
    /// What was seen of each measure, in the view that counted.
    pub(super) samples: Samples,
    /// What is left of each measure, from 0 to 1; None: not measured.
    pub(super) left: [Option<f64>; Measure::ALL.len()],
    /// How much it counts in means.
    pub(super) weight: f64,
}

/// What was seen of each measure, in the order of [`Measure::ALL`].
pub(super) type Samples = [Sample; Measure::ALL.len()];

/// Points that something cost.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub(super) cause: Cause,
    pub(super) points: f64,
    pub(super) sample: Sample,
    /// Where: the parts of a mean, with what each cost.
    pub(super) at: Vec<(String, f64)>,
}

/// A measure as a view sees it: plain, and with old days faded.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) plain: Share,
    pub(super) bad: f64,
    pub(super) of: f64,
}

impl Sample {
    /// The same as other parts have it, added up.
    fn add_all(&mut self, other: &Self) {
        self.add(other.plain, 0.0);
        self.bad += other.bad;
        self.of += other.of;
    }

    fn add(&mut self, share: Share, fading: f64) {
        self.plain = Share { bad: self.plain.bad.saturating_add(share.bad), of: self.plain.of.saturating_add(share.of) };
        self.bad += share.bad as f64 * fading;
        self.of += share.of as f64 * fading;
    }

    /// The lower end of its rate, in percent.
    pub(super) fn lower_end(&self) -> f64 {
        100.0 * lower_end(self.bad, self.of)
    }
}

/// One view of a key.
struct View {
    window: Window,
    samples: Samples,
    weight: f64,
}

impl Judged {
    /// Judges a key by the lower of both views; None: too little mail for either. `is_stopped`: feedback has stopped a lane at its provider.
    pub(super) fn of(history: &History, as_of: Date, is_stopped: bool, settings: &Settings) -> Option<Self> {
        let (days, last_day) = (View::of_days(history, as_of, settings), View::of_last_day(history));
        let weight = days.weight.max(last_day.weight);
        let judged = [days, last_day].map(|view| view.judge(settings));
        let cap = if is_stopped { f64::from(settings.stopped_lane_cap) } else { 100.0 };
        let views = judged.each_ref().map(|view| view.as_ref().map(|view| view.points.min(cap)));
        let mut judged = judged.into_iter().flatten().min_by(|one, other| one.points.total_cmp(&other.points))?;
        (judged.weight, judged.views) = (weight, views);
        if judged.points > cap {
            judged.lost.push(Lost { cause: Cause::StoppedLane, points: judged.points - cap, sample: Sample::default(), at: Vec::new() });
            judged.points = cap;
        }
        Some(judged)
    }

    /// What was seen of each measure where it is too little to judge.
    pub(super) fn seen(history: &History, as_of: Date, settings: &Settings) -> Samples {
        View::of_days(history, as_of, settings).samples
    }

    /// Says of whom a loss is a share, where the parts' own figures do not add up.
    pub(super) fn resample(&mut self, measure: Measure, history: &History, as_of: Date, settings: &Settings) {
        let view = match self.window {
            Some(Window::LastDay) => View::of_last_day(history),
            _ => View::of_days(history, as_of, settings),
        };
        let sample = view.samples[measure as usize];
        self.samples[measure as usize] = sample;
        let losses = self.lost.iter_mut().filter(|lost| lost.cause == Cause::Measure(measure));
        losses.for_each(|lost| lost.sample = sample);
    }

    /// Whether something cost points.
    pub(super) fn lost_by(&self, measure: Measure) -> bool {
        self.lost.iter().any(|lost| lost.cause == Cause::Measure(measure))
    }

    /// The mean of parts, by their weights; None of no parts.
    pub(super) fn mean(parts: &[(String, Self)]) -> Option<Self> {
        let all: f64 = parts.iter().map(|(_, part)| part.weight).sum();
        let count = parts.len() as f64;
        let share = |part: &Self| if all > 0.0 { part.weight / all } else { 1.0 / count };
        let window = parts.first()?.1.window;
        let window = window.filter(|_| parts.iter().all(|(_, part)| part.window == window));
        let points = parts.iter().map(|(_, part)| share(part) * part.points).sum();
        // Of those that have it.
        let mean = |of: &dyn Fn(&Self) -> Option<f64>| {
            let measured = || parts.iter().filter_map(|(_, part)| Some((share(part), of(part)?)));
            let whole: f64 = measured().map(|(share, _)| share).sum();
            (whole > 0.0).then(|| measured().map(|(share, value)| share * value).sum::<f64>() / whole)
        };
        let factors = Factor::ALL.map(|factor| mean(&|part| part.factors[factor as usize]));
        let left = Measure::ALL.map(|measure| mean(&|part| part.left[measure as usize]));
        let views = [0, 1].map(|view: usize| mean(&|part| part.views[view]));
        let (mut lost, mut samples) = (Vec::new(), Samples::default());
        for (key, part) in parts {
            let share = share(part);
            part.lost.iter().for_each(|loss| merge(&mut lost, key, share, loss));
            samples.iter_mut().zip(&part.samples).for_each(|(sum, sample)| sum.add_all(sample));
        }
        Some(Self { points, factors, lost, window, weight: all, views, samples, left })
    }
}

fn merge(lost: &mut Vec<Lost>, key: &str, share: f64, loss: &Lost) {
    let points = share * loss.points;
    let same = lost.iter().position(|other| other.cause == loss.cause).unwrap_or_else(|| {
        lost.push(Lost { cause: loss.cause, points: 0.0, sample: Sample::default(), at: Vec::new() });
        lost.len() - 1
    });
    let sum = &mut lost[same];
    sum.points += points;
    sum.sample.add_all(&loss.sample);
    sum.at.push((key.to_owned(), points));
}

impl View {
    fn of_days(history: &History, as_of: Date, settings: &Settings) -> Self {
        let mut view = Self::empty(Window::Days, history);
        for (date, counts) in history.days.iter() {
            let Some(age) = settings.age(date, as_of) else { continue };
            let fading = settings.fading(age);
            view.samples.iter_mut().zip(&counts.shares).for_each(|(sample, share)| sample.add(*share, fading));
            view.weight += counts.finished.max(counts.first_tries) as f64 * fading;
        }
        view
    }

    fn of_last_day(history: &History) -> Self {
        let (mut view, counts) = (Self::empty(Window::LastDay, history), &history.last_day);
        view.samples.iter_mut().zip(&counts.shares).for_each(|(sample, share)| sample.add(*share, 1.0));
        view.weight = counts.finished.max(counts.first_tries) as f64;
        view
    }

    fn empty(window: Window, history: &History) -> Self {
        let mut view = Self { window, samples: Default::default(), weight: 0.0 };
        if let Some(listed) = history.listed {
            view.samples[Measure::Listings as usize].add(Share { bad: listed, of: listed.max(1) }, 1.0);
        }
        if let Some(share) = history.unengaged {
            view.samples[Measure::Unengaged as usize].add(share, 1.0);
        }
        view
    }

    /// What is left of a measure, from 0 to 1; None: not measured.
    fn left(&self, measure: Measure, settings: &Settings) -> Option<f64> {
        let (sample, line) = (&self.samples[measure as usize], settings.line(measure));
        // A stream's suppressed recipients say nothing of a provider where it has hardly any mail.
        let own = if measure == Measure::Suppressed { &self.samples[Measure::UnknownUsers as usize] } else { sample };
        if sample.plain.of == 0 || sample.plain.of.min(own.plain.of) < line.min {
            return None;
        }
        let is_number = measure == Measure::Listings;
        Some(line.left_at(if is_number { sample.bad } else { sample.lower_end() }))
    }

    fn judge(&self, settings: &Settings) -> Option<Judged> {
        let left = Measure::ALL.map(|measure| self.left(measure, settings));
        // What is known without any mail of this view makes no score of it.
        let of_mail = |measure: &Measure| !matches!(measure, Measure::Suppressed | Measure::Listings | Measure::Unengaged);
        if !Measure::ALL.iter().filter(|measure| of_mail(measure)).any(|measure| left[*measure as usize].is_some()) {
            return None;
        }
        let shares = Factor::ALL.map(|factor| {
            let measured = factor.measures().filter(|measure| left[*measure as usize].is_some());
            measured.map(|measure| f64::from(settings.line(measure).share)).sum::<f64>()
        });
        let measured = Factor::ALL.into_iter().filter(|factor| shares[*factor as usize] > 0.0);
        let weights: f64 = measured.map(|factor| f64::from(settings.weight(factor))).sum();
        let (mut factors, mut lost, mut points) = (shares.map(|share| (share > 0.0).then_some(1.0)), Vec::new(), 100.0);
        for measure in Measure::ALL {
            let (factor, Some(left)) = (measure.factor(), left[measure as usize]) else { continue };
            let of_factor = f64::from(settings.line(measure).share) / shares[factor as usize] * (1.0 - left);
            if let Some(rest) = &mut factors[factor as usize] {
                *rest -= of_factor;
            }
            let cost = 100.0 * f64::from(settings.weight(factor)) / weights * of_factor;
            if cost > 0.0 {
                points -= cost;
                lost.push(Lost { cause: Cause::Measure(measure), points: cost, sample: self.samples[measure as usize], at: Vec::new() });
            }
        }
        let points = points.max(0.0);
        Some(Judged {
            points,
            factors,
            lost,
            window: Some(self.window),
            weight: self.weight,
            views: [None; 2],
            samples: self.samples,
            left,
        })
    }
}
