//! What the log comes to, for `posthaste report`.

use posthaste_findings::score::Settings;
use posthaste_host::clock;
use posthaste_tallies::Dimension;
use posthaste_watch::{Figures, Report, ReportRequest, StoppedLanes};

/// The report that is asked for. Blocks.
pub(super) fn report(
    figures: Option<&Figures>,
    request: &ReportRequest,
    score: &Settings,
    stopped: &StoppedLanes,
) -> Result<Report, String> {
    let figures = figures.ok_or("the delivery log is not counted: monitor.enabled is false")?;
    let by = request.by.as_deref().map(str::parse::<Dimension>).transpose()?;
    let read = figures.read(|tallies| Report::read(tallies, request, by)?.scored(tallies, clock::now(), score, stopped));
    read.map_err(|error| error.to_string())
}
