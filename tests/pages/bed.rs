//! The tests' own eyes: what is wrong with a page is seen. The pages are made for it, and served without a relay.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    thread,
};

use support::browser::{Browser, Screen, Theme};

const STRICT: &str = "default-src 'self'";

/// Serves one page under this policy at every path, for as long as the test runs; returns its address.
fn serve(policy: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><title>A page</title><link rel=\"icon\" href=\"data:,\">\
         <meta name=\"viewport\" content=\"width=device-width\"></head><body><main><h1>A page</h1>{body}</main></body></html>"
    );
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let page = page.clone();
            thread::spawn(move || {
                // A browser opens connections that it may never use.
                let asked = stream.read(&mut [0; 8192]).unwrap_or(0);
                let length = page.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\
                     Content-Security-Policy: {policy}; img-src 'self' data:\r\nConnection: close\r\n\r\n"
                );
                let _ = if asked > 0 { stream.write_all((head + &page).as_bytes()) } else { Ok(()) };
            });
        }
    });
    format!("http://{address}/")
}

#[test]
fn what_the_policy_forbids_and_what_scripts_throw_is_seen() {
    if !Browser::have() {
        return;
    }
    let browser = Browser::start();
    browser.open(&serve(STRICT, "<p style=\"color: red\">Red</p>"));
    let complaints = browser.complaints();
    assert!(complaints.len() == 1 && complaints[0].contains("Content Security Policy"), "{complaints:?}");
    browser.open(&serve("default-src 'unsafe-inline'", "<p>Thrown</p><script>setTimeout(() => { throw new Error('lost') })</script>"));
    let thrown = support::wait::until("the error", || browser.complaints().pop());
    assert!(thrown.contains("lost"), "{thrown}");
}

#[test]
fn what_keeps_people_out_is_seen_in_the_theme_that_has_it() {
    if !Browser::have() {
        return;
    }
    let browser = Browser::start();
    browser.open(&serve(
        "default-src 'unsafe-inline'",
        "<style>:root { color-scheme: light dark } @media (prefers-color-scheme: dark) { body { background: #111; color: #333 } }</style><p>Faint</p>",
    ));
    assert_eq!(browser.hurdles(), "", "by day");
    browser.look(Screen::Desktop, Theme::Dark);
    let told = browser.hurdles();
    assert!(told.contains("color-contrast, serious") && told.contains("<p>Faint</p>"), "{told}");
    browser.open(&serve(STRICT, "<input type=\"text\">"));
    assert!(browser.hurdles().contains("label, critical"), "the policy does not keep axe-core out: {}", browser.hurdles());
}

#[test]
fn what_is_wider_than_a_phone_is_seen() {
    if !Browser::have() {
        return;
    }
    let browser = Browser::start();
    browser.look(Screen::Phone, Theme::Light);
    browser.open(&serve(STRICT, "<table border=\"0\" width=\"700\"><tr><td>wide</td></tr></table>"));
    let wide = browser.too_wide(Screen::Phone);
    assert!(wide.iter().any(|what| what.starts_with("706 pixels: ") && what.contains("wide</td>")), "{wide:?}");
    browser.open(&serve(STRICT, "<p>narrow</p>"));
    assert_eq!(browser.too_wide(Screen::Phone), [""; 0]);
}

#[test]
fn pages_are_used_by_the_names_that_are_on_them_and_without_script_too() {
    if !Browser::have() {
        return;
    }
    let browser = Browser::start();
    let page = serve(
        "default-src 'unsafe-inline'; form-action 'self'",
        "<form><label for=\"who\">Who \"you\" are</label> <input id=\"who\" name=\"who\"> <button>Go on</button></form>\
         <p id=\"script\">No script</p><script>document.getElementById('script').textContent = 'Script runs'</script>",
    );
    for (may_run, says) in [(true, "Script runs"), (false, "No script")] {
        browser.scripts(may_run);
        browser.open(&page);
        browser.until_shown(says);
        browser.field("Who \"you\" are").fill("me & you");
        browser.press("Go on");
        assert_eq!(browser.url(), format!("{page}?who=me+%26+you"), "{may_run}");
        browser.until_shown(says);
    }
    assert!(browser.picture().starts_with(b"\x89PNG"));
}
