//! What is let through to a terminal, and in how many lines.

use super::*;

fn shown(parts: &[&[u8]], colours: bool) -> String {
    let mut to = Vec::new();
    {
        let mut screen = Screen::new(&mut to);
        screen.colours = colours;
        parts.iter().for_each(|part| screen.write_all(part).unwrap());
    }
    String::from_utf8(to).unwrap()
}

#[test]
fn what_a_terminal_would_obey_is_escaped_and_the_rest_is_written_as_it_is() {
    assert_eq!(shown(&["a\tb\nGrüße 🚀\n".as_bytes()], false), "a\tb\nGrüße 🚀\n");
    assert_eq!(shown(&["\u{1b}]0;x\u{7}\u{9b}\u{202e}\r".as_bytes()], false), "\\u001b]0;x\\u0007\\u009b\\u202e\\r");
    assert_eq!(shown(&[b"a\xffb\xc3", b"\xa9\xf0\x9f"], false), "a\\xffbé\\xf0\\x9f");
}

#[test]
fn colours_are_ours_and_nothing_else_that_begins_so() {
    assert_eq!(shown(&[b"\x1b[32mgreen\x1b[0m"], true), "\x1b[32mgreen\x1b[0m");
    assert_eq!(shown(&[b"\x1b[32mgreen"], false), "\\u001b[32mgreen");
    for other in ["[2J", "[1;1H", "]0;x", "[321m", "[m", "["] {
        let text = format!("\x1b{other}");
        assert_eq!(shown(&[text.as_bytes()], true), format!("\\u001b{other}"));
    }
}

#[test]
fn a_line_that_is_longer_than_the_terminal_is_folded_between_words() {
    let at = |width, text: &str| {
        let mut to = Vec::new();
        let mut screen = Screen::new(&mut to);
        screen.width = Some(width);
        screen.colours = true;
        screen.write_all(text.as_bytes()).unwrap();
        drop(screen);
        String::from_utf8(to).unwrap()
    };
    assert_eq!(at(20, "  one two three four five\nshort\n"), "  one two three four\n      five\nshort\n");
    assert_eq!(at(10, "abcdefghijklmno xyz\n"), "abcdefghij\n    klmno\n    xyz\n");
    assert_eq!(at(20, "{\"a\": \"one two three four five\"}\n"), "{\"a\": \"one two three four five\"}\n");
    assert_eq!(at(10, "\x1b[1mabcdefghij\x1b[0m\n"), "\x1b[1mabcdefghij\x1b[0m\n", "a colour takes no room");
    assert_eq!(at(10, "a     b    c"), "a     b\n    c");
}

#[test]
fn json_stays_the_same_json() {
    let value = serde_json::json!({ "said": "\u{1b}\u{9b}\u{202e}\u{e0041}\u{7f}\"\\ \n" });
    let line = shown(&[value.to_string().as_bytes()], false);
    assert!(!line.contains(Foreign::is_obeyed), "{line:?}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value);
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_is_told() {
    const INSIDE: &str = "POSTHASTE_PANICS_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        let mut whole = Whole::take().unwrap();
        whole.draw(|frame| frame.render_widget("contents", frame.area())).unwrap();
        panic!("somebody has made a mistake");
    }
    // The same test once more, at a pseudo terminal.
    let own = std::env::current_exe().unwrap();
    let name = "screen::tests::a_panic_gives_the_terminal_back_before_it_is_told";
    let script = format!("stty cols 80 rows 24; stty -g; {} --exact {name} --nocapture; stty -g", own.display());
    let mut terminal = std::process::Command::new("script");
    terminal.args(["-qec", &script, "/dev/null"]).env(INSIDE, "1").env("TERM", "xterm").stdin(std::process::Stdio::null());
    let shown = String::from_utf8_lossy(&terminal.output().expect("script, of util-linux").stdout).into_owned();
    let place = |what: &str| shown.find(what).unwrap_or_else(|| panic!("{what:?} is not in {shown:?}"));
    assert!(place("\u{1b}[?1049h") < place("contents"), "{shown:?}");
    assert!(place("contents") < place("\u{1b}[?1049l") && place("\u{1b}[?1049l") < place("somebody has made a mistake"), "{shown:?}");
    assert!(place("\u{1b}[?25h") < place("somebody has made a mistake"), "{shown:?}");
    let modes: Vec<&str> =
        shown.lines().map(str::trim).filter(|line| line.len() > 60 && line.chars().all(|c| c == ':' || c.is_ascii_hexdigit())).collect();
    assert!(modes.len() == 2 && modes[0] == modes[1], "{modes:?} of {shown:?}");
}
