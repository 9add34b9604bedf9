//! Headless Chromium, driven as a person would: pages opened, fields filled, buttons pressed by the names that are on them.
//!
//! It speaks WebDriver (w3.org/TR/webdriver2) to Debian's chromedriver by a client of its own, since the known clients bring what `deny.toml`
//! refuses: thirtyfour needs reqwest, and fantoccini a library under the MPL. Ten commands are all that is used. What the console says,
//! violations of the Content-Security-Policy among it, fails the test.

pub mod axe;
mod element;

use std::{
    cell::RefCell,
    fs,
    net::{Ipv4Addr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{http::Connection, relay::free_port, tools, wait};

pub use element::Element;

/// A browser with a fresh profile; it ends when dropped.
pub struct Browser {
    driver: Child,
    /// The process of Chromium, for an end without the driver.
    chromium: u64,
    connection: RefCell<Connection>,
    session: String,
    port: u16,
    profile: TempDir,
}

/// How large the window is, in CSS pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// 1280 by 900.
    Desktop,
    /// 390 by 844, touched.
    Phone,
}

/// What the person prefers (`prefers-color-scheme`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Screen {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Desktop, Self::Phone];

    /// Width and height.
    pub fn size(self) -> (u32, u32) {
        match self {
            Self::Desktop => (1280, 900),
            Self::Phone => (390, 844),
        }
    }

    /// A word for file names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Phone => "phone",
        }
    }
}

impl Theme {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Light, Self::Dark];

    /// The word of CSS, for file names too.
    pub fn word(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

impl Browser {
    const PROGRAMS: [&str; 2] = ["/usr/bin/chromium", "/usr/bin/chromedriver"];

    /// Whether browser tests can run here; if `tests/run` runs them, they must.
    pub fn have() -> bool {
        Self::PROGRAMS.iter().all(|program| tools::have(program)) && tools::have(&axe::path().display().to_string())
    }

    /// Starts one with a desktop's window, in the light theme.
    #[track_caller]
    pub fn start() -> Self {
        let (port, profile) = (free_port(), TempDir::with_prefix("chromium-").expect("a folder for the profile"));
        let [chromium, chromedriver] = Self::PROGRAMS;
        let mut command = Command::new(chromedriver);
        command.arg(format!("--port={port}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut driver = command.spawn().expect("chromedriver starts");
        wait::until("chromedriver to listen", || {
            assert!(driver.try_wait().expect("it can be asked").is_none(), "chromedriver ended");
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        });
        let connection = RefCell::new(Connection::open(port).expect("it listens"));
        let mut browser = Self { driver, chromium: 0, connection, session: String::new(), port, profile };
        let profile = format!("--user-data-dir={}", browser.profile.path().display());
        // The sandbox needs a user other than root, /dev/shm is small in containers, and nothing is asked of anybody but the relay.
        let arguments = [
            &*profile,
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "binary": chromium, "args": arguments },
        }}});
        let begun = browser.ask("POST", "/session", &capabilities);
        begun["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {begun}")).clone_into(&mut browser.session);
        browser.chromium = begun["capabilities"]["goog:processID"].as_u64().unwrap_or_default();
        browser.look(Screen::Desktop, Theme::Light);
        browser
    }

    /// From now on this is the window, and this the theme that is preferred.
    pub fn look(&self, screen: Screen, theme: Theme) {
        let (width, height) = screen.size();
        let phone = screen == Screen::Phone;
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone }),
        );
        self.devtools("Emulation.setTouchEmulationEnabled", &json!({ "enabled": phone }));
        let features = [json!({ "name": "prefers-color-scheme", "value": theme.word() })];
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// From the next page on, pages may run scripts, or not.
    pub fn scripts(&self, may_run: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": !may_run }));
    }

    /// Opens a page and waits until it has loaded.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.say("/url", &json!({ "url": url }));
    }

    /// Where it is.
    #[track_caller]
    pub fn url(&self) -> String {
        let value = self.ask("GET", &format!("/session/{}/url", self.session), &Value::Null);
        value.as_str().expect("an address is text").to_owned()
    }

    /// The cookies of the site that is open, with what guards them, as WebDriver tells them.
    #[track_caller]
    pub fn cookies(&self) -> Vec<Value> {
        let value = self.ask("GET", &format!("/session/{}/cookie", self.session), &Value::Null);
        value.as_array().expect("a list").clone()
    }

    /// What a function's body returns, run in the page; `arguments` is the list of its arguments. The page's policy does not concern it.
    #[track_caller]
    pub fn eval(&self, body: &str, arguments: &[Value]) -> Value {
        self.say("/execute/sync", &json!({ "script": body, "args": arguments }))
    }

    /// The same for a body that calls its last argument once it is done.
    #[track_caller]
    pub fn eval_later(&self, body: &str, arguments: &[Value]) -> Value {
        self.say("/execute/async", &json!({ "script": body, "args": arguments }))
    }

    /// All text that is to be seen.
    #[track_caller]
    pub fn text(&self) -> String {
        self.eval("return document.body ? document.body.innerText : ''", &[]).as_str().expect("text").to_owned()
    }

    /// Waits until the page shows this, without a reload.
    #[track_caller]
    pub fn until_shown(&self, part: &str) {
        let shown = wait::within(wait::PATIENCE, || self.text().contains(part).then_some(()));
        assert!(shown.is_some(), "{part:?} is not on {}:\n{}", self.url(), self.text());
    }

    /// The whole page, beyond the window too, as PNG.
    #[track_caller]
    pub fn picture(&self) -> Vec<u8> {
        let metrics = self.devtools("Page.getLayoutMetrics", &json!({}));
        let size = &metrics["cssContentSize"];
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        self.capture(&json!({ "format": "png", "captureBeyondViewport": true, "clip": clip }))
    }

    /// The top of the page, of the window's width, as PNG.
    #[track_caller]
    pub fn top(&self, screen: Screen, height: u32) -> Vec<u8> {
        let clip = json!({ "x": 0, "y": 0, "width": screen.size().0, "height": height, "scale": 1 });
        self.capture(&json!({ "format": "png", "clip": clip }))
    }

    /// What makes the page wider than the window, so that people have to scroll sideways; empty if nothing does.
    #[track_caller]
    pub fn too_wide(&self, screen: Screen) -> Vec<String> {
        // A phone's window grows with what does not fit into it. What scrolls by itself may be as wide as it likes.
        const LOOK: &str = "const most = arguments[0], root = document.documentElement;
            if (Math.max(root.scrollWidth, innerWidth) <= most) return [];
            const around = e => getComputedStyle(e).position == 'absolute' ? e.offsetParent : e.parentElement;
            const scrolls = e => e && (getComputedStyle(e).overflowX != 'visible' || scrolls(around(e)));
            return [...document.body.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > most && !scrolls(around(e)))
                .map(e => Math.ceil(e.getBoundingClientRect().right) + ' pixels: ' + e.outerHTML.slice(0, 120)).slice(-3).concat('too wide')";
        let found = self.eval(LOOK, &[json!(screen.size().0)]);
        found.as_array().expect("a list").iter().map(|item| item.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// What the console complained about since the last call.
    #[track_caller]
    pub fn complaints(&self) -> Vec<String> {
        let lines = self.say("/se/log", &json!({ "type": "browser" }));
        let bad = |line: &&Value| line["level"] == "SEVERE" || line["level"] == "WARNING" || line["source"] == "security";
        lines.as_array().expect("a list").iter().filter(bad).map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The console has complained about this, and about nothing else, as it does about each answer that is an error.
    #[track_caller]
    pub fn expect_complaint(&self, part: &str) {
        let complaints = self.complaints();
        assert!(!complaints.is_empty() && complaints.iter().all(|said| said.contains(part)), "not only {part:?}: {complaints:#?}");
    }

    /// A command of the DevTools protocol (chromedevtools.github.io/devtools-protocol).
    #[track_caller]
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.say("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    #[track_caller]
    fn capture(&self, how: &Value) -> Vec<u8> {
        let picture = self.devtools("Page.captureScreenshot", how);
        BASE64_STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("it is base64")
    }

    /// A command about this session. It must succeed.
    #[track_caller]
    fn say(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}{path}", self.session), body)
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_ask(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The answer's value, or what the driver says against it.
    fn try_ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        let mut connection = self.connection.borrow_mut();
        let reply = connection.send(&[head.as_bytes(), body.as_bytes()].concat()).and_then(|()| connection.hear());
        let reply = reply.map_err(|error| format!("chromedriver is gone: {error}"))?;
        let value = reply.json()["value"].take();
        match reply.status {
            200 => Ok(value),
            _ => Err(format!("{}: {}", value["error"].as_str().unwrap_or_default(), value["message"].as_str().unwrap_or_default())),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let complaints = if thread::panicking() { Vec::new() } else { self.complaints() };
        if thread::panicking() {
            let path = std::env::temp_dir().join(format!("posthaste-browser-{}.png", self.driver.id()));
            let shot = self.try_ask("GET", &format!("/session/{}/screenshot", self.session), &Value::Null);
            let bytes = shot.ok().and_then(|shot| BASE64_STANDARD.decode(shot.as_str()?).ok());
            if bytes.is_some_and(|bytes| fs::write(&path, bytes).is_ok()) {
                eprintln!("--- what the browser showed: {}", path.display());
            }
        }
        let ended = self.try_ask("DELETE", &format!("/session/{}", self.session), &Value::Null);
        if let (Err(_), Some(pid)) = (ended, i32::try_from(self.chromium).ok().and_then(rustix::process::Pid::from_raw)) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        assert!(complaints.is_empty(), "the console complained: {complaints:#?}");
    }
}
