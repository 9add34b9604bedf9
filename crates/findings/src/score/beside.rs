//! What is wrong now beside a score: it judges mail that is finished, so that it stays good while mail stands.

use super::{Beside, Score, Scores};

/// Incidents that are named beside a score.
const NAMED: usize = 5;

impl Scores {
    /// The same with the incidents that are about what each score is about. No score changes.
    pub fn beside(mut self, incidents: &[Beside]) -> Self {
        // A certificate that expires says nothing of the mail.
        let mut of_mail: Vec<&Beside> = incidents.iter().filter(|incident| incident.about().0 != "relay").collect();
        of_mail.sort_by_key(|incident| (incident.severity != "critical", incident.rule != "mail_stands", incident.since));
        let about = |score: &mut Score, is_about: &dyn Fn(&str, &str) -> bool| {
            score.say_beside(of_mail.iter().copied().filter(|incident| is_about(incident.about().0, incident.about().1)));
        };
        about(&mut self.all, &|_, _| true);
        let first = |value: &str, name: &str| value.rsplit_once('/').is_some_and(|(first, _)| first == name);
        let second = |value: &str, name: &str| value.rsplit_once('/').is_some_and(|(_, second)| second == name);
        let of_provider = |word: &str, value: &str, name: &str| match word {
            "provider" => value == name,
            "lane" | "stream_provider" => second(value, name),
            _ => false,
        };
        for (name, score) in &mut self.providers {
            about(score, &|word, value| of_provider(word, value, name));
        }
        for (name, score) in &mut self.streams {
            about(score, &|word, value| word == "stream" && value == name || word == "stream_provider" && first(value, name));
        }
        for (name, score) in &mut self.sources {
            about(score, &|word, value| word == "source" && value == name || word == "lane" && first(value, name));
        }
        for (name, score) in &mut self.domains {
            about(score, &|word, value| word == "from_domain" && value == name);
        }
        for pair in &mut self.pairs {
            about(&mut pair.score, &|word, value| match word {
                "stream" => value == pair.stream,
                "stream_provider" => first(value, &pair.stream) && second(value, &pair.provider),
                _ => of_provider(word, value, &pair.provider),
            });
        }
        for lane in &mut self.lanes {
            about(&mut lane.score, &|word, value| match word {
                "source" => value == lane.source,
                "lane" => first(value, &lane.source) && second(value, &lane.provider),
                "stream_provider" => false,
                _ => of_provider(word, value, &lane.provider),
            });
        }
        self
    }
}

impl Score {
    fn say_beside<'i>(&mut self, incidents: impl Iterator<Item = &'i Beside>) {
        let incidents: Vec<&Beside> = incidents.collect();
        self.but = incidents.first().map(|worst| {
            let more = match incidents.len() - 1 {
                0 => String::new(),
                1 => "; 1 more incident is open".to_owned(),
                more => format!("; {more} more incidents are open"),
            };
            format!("{} since {:.0}{more}", worst.what(), worst.since)
        });
        self.beside = incidents.into_iter().take(NAMED).cloned().collect();
    }
}

impl Beside {
    /// "mail stands (provider:google)".
    pub fn what(&self) -> String {
        format!("{} ({})", self.rule.replace('_', " "), self.key)
    }

    fn about(&self) -> (&str, &str) {
        self.key.split_once(':').unwrap_or((&self.key, ""))
    }
}
