//! What the log comes to, for `posthaste report`.

use posthaste_findings::score::Settings;
use posthaste_host::clock;
use posthaste_watch::{By, Figures, OFF, Report, ReportRequest, Shown, StoppedLanes};

/// The report that is asked for, with all ways to tell its mail apart if wanted. Blocks.
pub(super) fn report(
    figures: Option<&Figures>,
    (request, full): (&ReportRequest, bool),
    score: &Settings,
    now: (&StoppedLanes, &[Shown]),
) -> Result<Report, String> {
    let figures = figures.ok_or(OFF)?;
    let by = request.by.as_deref().map(str::parse::<By>).transpose()?;
    let read = figures.read(|tallies| {
        let report = Report::read(tallies, request, by)?.scored(tallies, clock::now(), score, now)?;
        if full { report.in_full(tallies, request.most) } else { Ok(report) }
    });
    read.map_err(|error| error.to_string())
}
