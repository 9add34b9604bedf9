//! Frames, exactly as they are at a terminal of a size.

use posthaste_queue::QueueCounts;
use posthaste_relay::top::{Flow, LaneNow, LaneState, ProviderNow, Warming};
use posthaste_watch::{Shown, Told};
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};

use super::*;

fn at(text: &str) -> Timestamp {
    format!("2026-11-29T{text}Z").parse().unwrap()
}

fn incident(severity: &str, state: &str, since: &str, detail: &str) -> Shown {
    let told = Told {
        rule: "provider_refuses".into(),
        key: "provider:microsoft".into(),
        severity: severity.into(),
        detail: detail.into(),
        n: 1,
        of: None,
        measure: String::new(),
        limit: String::new(),
        limit_from: String::new(),
        problem_of: "ours".into(),
        done: String::new(),
        next_step: String::new(),
        query: String::new(),
        last_seen: at(since),
    };
    Shown { id: "1".into(), state: state.into(), told, since: at(since), closed: None, mute: None }
}

fn provider(name: &str, queued: usize, oldest: Option<&str>, (attempts, refused): (u64, u64), class: Option<&str>) -> ProviderNow {
    ProviderNow {
        provider: name.into(),
        queued,
        due: queued / 10,
        connections: 3,
        oldest: oldest.map(at),
        attempts,
        delivered: attempts - refused,
        refused,
        class: class.map(str::to_owned),
        last_error: None,
    }
}

fn lane(provider: &str, cap: Option<u32>, used: u32, state: LaneState, until: Option<&str>, why: Option<&str>) -> LaneNow {
    LaneNow { source: "ip1".into(), provider: provider.into(), cap, used, state, until: until.map(at), why: why.map(str::to_owned) }
}

fn top() -> Top {
    Top {
        node: "mx1".into(),
        version: "0.1.0".into(),
        now: at("12:00:00"),
        closed: None,
        halted: None,
        blocked: None,
        alarms: 0,
        queue: QueueCounts { messages: 12_000, recipients: 12_345, due: 120, later: 12_180, in_flight: 30, held: 15, connections: 17 },
        oldest: Some(at("08:50:00")),
        counted: Some(Flow { accepted: 1_000_000, delivered: 990_000, deferred: 30_000, bounced: 8_000, rejected: 12 }),
        providers: vec![
            provider("google", 1_200, Some("11:58:00"), (54_000, 120), Some("rate_limited")),
            provider("microsoft", 11_000, Some("08:50:00"), (950, 312), Some("ip_reputation")),
            provider("small.example", 40, None, (40, 3), None),
        ],
        more_providers: 0,
        lanes: vec![
            lane("microsoft", Some(5_000), 950, LaneState::Stopped, None, Some("paused after 550 5.7.1 blocked")),
            lane("google", Some(60_000), 60_000, LaneState::Full, Some("23:00:00"), Some("the day's budget is gone")),
            lane("small.example", None, 7, LaneState::Sends, None, None),
        ],
        more_lanes: 0,
        warmup: vec![Warming { source: "ip1".into(), from_stage: 3, to_stage: 5, stages: 30, lanes: 2, cap: 65_000, used: 60_950 }],
        incidents: vec![
            incident("critical", "open", "10:00:00", "microsoft refuses mail for reputation: 312 of 950 attempts in 15 min"),
            incident("warn", "muted", "11:30:00", "a lane waits"),
        ],
        score: Some(71),
        band: Some("act".into()),
        but: None,
        off: None,
        minutes: Some((0..30).map(|n| Flow { accepted: 60 * n, delivered: 6_000, deferred: 0, bounced: n / 29, rejected: 0 }).collect()),
    }
}

fn app() -> App {
    let mut app = App::new(false);
    app.hear(Ok(top()), at("12:00:00"));
    let mut later = Top { now: at("12:00:10"), minutes: None, ..top() };
    later.counted = Some(Flow { accepted: 1_001_234, delivered: 990_995, deferred: 30_000, bounced: 8_001, rejected: 12 });
    app.hear(Ok(later), at("12:00:10"));
    app
}

fn frame(app: &App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app, at("12:00:10"))).unwrap();
    let buffer = terminal.backend().buffer();
    let cells: Vec<&str> = buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect();
    cells.chunks(usize::from(width).max(1)).map(|row| row.concat().trim_end().to_owned() + "\n").collect()
}

fn press(app: &mut App, keys: &str) {
    for c in keys.chars() {
        app.press(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
    }
}

/// With POSTHASTE_WRITE_GOLDENS the frame is written down, to be looked at.
fn is_as_written_down(name: &str, frame: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands/top/view").join(name);
    if std::env::var_os("POSTHASTE_WRITE_GOLDENS").is_some() {
        std::fs::write(&path, frame).unwrap();
    }
    assert_eq!(frame, std::fs::read_to_string(&path).unwrap(), "{name}");
}

#[test]
fn a_frame_of_80_columns_and_24_rows_has_all_that_matters() {
    is_as_written_down("80x24.txt", &frame(&app(), 80, 24));
}

#[test]
fn a_larger_terminal_shows_more_and_cuts_less() {
    is_as_written_down("132x40.txt", &frame(&app(), 132, 40));
}

#[test]
fn a_small_terminal_shows_what_comes_first_and_none_is_too_small() {
    let small = frame(&app(), 40, 10);
    assert!(small.starts_with("posthaste 0.1.0 mx1") && small.lines().count() == 10 && small.contains("q quits"), "{small}");
    for (width, height) in [(1, 1), (0, 0), (3, 2), (500, 3), (20, 200)] {
        frame(&app(), width, height);
    }
}

#[test]
fn rows_that_have_no_room_are_counted() {
    let mut app = app();
    let many = |n: usize| provider(&format!("p{n:03}.example"), n, None, (n as u64, 0), None);
    app.top.as_mut().unwrap().providers = (0..200).map(many).collect();
    app.top.as_mut().unwrap().more_providers = 50;
    let shown = frame(&app, 80, 24);
    assert!(shown.contains("Providers (5 of 250)"), "{shown}");
}

#[test]
fn a_relay_that_is_down_is_said_first_and_what_was_stays() {
    let mut app = app();
    app.hear(Err("no relay answers at /run/x: connection refused".into()), at("11:59:00"));
    app.hear(Err("no relay answers at /run/x: connection refused".into()), at("12:00:05"));
    let shown = frame(&app, 80, 24);
    let second = shown.lines().nth(1).unwrap();
    assert_eq!(second, "THE RELAY IS DOWN for 1m10s, trying again; below is what was: no relay answers …");
    assert!(shown.contains("Providers (3)") && shown.lines().any(|line| line.starts_with("accepted            -")), "{shown}");
    app.hear(Ok(top()), at("12:00:10"));
    assert!(!frame(&app, 80, 24).contains("DOWN"));
    let mut new = App::new(false);
    new.hear(Err("no relay answers".into()), at("12:00:10"));
    assert!(frame(&new, 80, 24).contains("THE RELAY IS DOWN for 0s, trying again: no relay answers"));
}

#[test]
fn a_relay_that_does_not_answer_takes_no_mail_or_has_alarms_says_so() {
    let mut app = app();
    app.asked = Some(at("12:00:00"));
    assert!(frame(&app, 80, 24).contains("THE RELAY HAS NOT ANSWERED for 10s"));
    app.asked = None;
    app.top.as_mut().unwrap().alarms = 2;
    assert!(frame(&app, 80, 24).contains("2 alarms stand: posthaste alarms"));
    app.top.as_mut().unwrap().closed = Some("the disk is full".into());
    assert!(frame(&app, 80, 24).contains("TAKES NO MAIL: the disk is full"));
}

#[test]
fn a_filter_a_sort_and_a_pause_show_in_what_is_shown() {
    let mut app = app();
    press(&mut app, "s/GOO");
    let shown = frame(&app, 80, 24);
    assert!(shown.contains("filter: goo_") && shown.contains("Providers (1)") && shown.contains("Lanes (1)"), "{shown}");
    app.press(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
    press(&mut app, "ss");
    let names = |shown: &str| {
        let names =
            shown.lines().filter_map(|line| line.split(' ').next()).filter(|name| ["google", "microsoft", "small.example"].contains(name));
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(&frame(&app, 80, 40)), ["google", "microsoft", "small.example"], "by name");
    press(&mut app, "p");
    app.hear(Ok(Top { node: "other".into(), ..top() }), at("12:00:20"));
    let shown = frame(&app, 80, 24);
    assert!(shown.contains("PAUSED") && shown.contains("mx1") && shown.contains("p goes on"), "{shown}");
    press(&mut app, "?");
    assert!(frame(&app, 80, 24).contains("sort providers"));
}

#[test]
fn nothing_of_strangers_is_obeyed_and_without_colours_there_are_none() {
    let mut app = app();
    let top = app.top.as_mut().unwrap();
    top.providers[0].provider = "x\u{1b}[2J\u{202e}\u{9b}y".into();
    top.incidents[0].told.detail = "\u{1b}]0;owned\u{7}".into();
    top.closed = Some("\u{202e}\n9 messages".into());
    let colours = |app: &App| {
        let lines = lines(app, at("12:00:10"), 80, Height::Rows(24));
        lines.iter().flat_map(|line| line.spans.iter().map(|span| span.style).chain([line.style])).any(|style| style.fg.is_some())
    };
    assert!(!colours(&app));
    let shown = frame(&app, 80, 24);
    assert!(!shown.contains(|c: char| posthaste_mail::Foreign::is_obeyed(c) && c != '\n'), "{shown:?}");
    app.colours = true;
    assert!(colours(&app));
}
