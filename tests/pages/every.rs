//! What holds for every page there is, on a relay with much going on.

use std::collections::BTreeSet;

use serde_json::Value;
use support::{
    browser::{Browser, Screen, Theme},
    pages::{LOGIN, PAGES, Page, Place},
    town::{PEOPLE, Town},
    visitor::Visitor,
};

/// What a page says, as far as it does not change from second to second: its headings, fields, buttons and columns.
const BONES: &str = "return [...document.querySelectorAll('main h1, main h2, main th, main button, main label, main summary, nav a')]
    .map(e => e.textContent.replace(/[0-9]+/g, '#').trim())";
/// Where a page leads: links, forms, and what it loads.
const WAYS: &str = "return [...document.querySelectorAll('[href], [action], [src]')]
    .map(e => e.getAttribute('href') || e.getAttribute('action') || e.getAttribute('src'))";
/// Figures without a name, and charts without a table beside them.
const MUTE_CHARTS: &str = "return [...document.querySelectorAll('svg')].filter(e => e.getAttribute('aria-hidden') !== 'true'
    && !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.querySelector('title'))).map(e => e.outerHTML.slice(0, 200))";

#[test]
fn every_page_is_for_everybody() {
    if !Browser::have() {
        return;
    }
    let town = Town::start("");
    let (browser, place) = (Browser::start(), Place::new(&town.relay, town.http));
    let (name, password, _) = PEOPLE[0];
    let visitor = Visitor::login(town.http, name, password);
    let mut wrong = looks(&browser, &place, &LOGIN);
    place.login(&browser, name, password);
    let mut ways = BTreeSet::new();
    for page in PAGES {
        if let Some(none) = dead_end(&visitor, &path(&place, page)) {
            wrong.push(none);
            continue;
        }
        wrong.extend(looks(&browser, &place, page));
        browser.look(Screen::Desktop, Theme::Light);
        let with = bones(&browser, &place, page, true);
        let without = bones(&browser, &place, page, false);
        wrong.extend((with != without).then(|| format!("{}: without script it says\n{without:?}\nand with it\n{with:?}", page.name)));
        ways.extend(list(&browser.eval(WAYS, &[])));
        browser.scripts(true);
        let data = visitor.get(&format!("{}?as=json", path(&place, page)));
        let is_data = data.status == 200 && serde_json::from_slice::<Value>(&data.body).is_ok();
        wrong.extend((!is_data).then(|| format!("{}: no JSON of it: {}", page.name, data.status)));
    }
    wrong.extend(ways.iter().filter(|way| names_somebody(way)).map(|way| format!("an address of a person in {way}")));
    wrong.extend(ways.iter().filter_map(|way| dead_end(&visitor, way)));
    assert!(wrong.is_empty(), "{} things:\n{}", wrong.len(), wrong.join("\n"));
}

/// What is wrong with a page on every screen and in every theme.
fn looks(browser: &Browser, place: &Place<'_>, page: &Page) -> Vec<String> {
    let mut wrong = Vec::new();
    let address = place.address(page);
    for screen in Screen::ALL {
        for theme in Theme::ALL {
            let what = format!("{} {} {}", page.name, screen.word(), theme.word());
            browser.look(screen, theme);
            browser.open(&address);
            wrong.extend(browser.complaints().into_iter().map(|said| format!("{what}: {said}")));
            wrong.extend(Some(browser.hurdles()).filter(|told| !told.is_empty()).map(|told| format!("{what}: {told}")));
            wrong.extend(browser.too_wide(screen).into_iter().map(|wide| format!("{what}: {wide}")));
        }
    }
    wrong.extend(list(&browser.eval(MUTE_CHARTS, &[])).into_iter().map(|svg| format!("{}: a chart without a name: {svg}", page.name)));
    wrong
}

fn path(place: &Place<'_>, page: &Page) -> String {
    place.address(page).replace(&place.at(""), "")
}

fn bones(browser: &Browser, place: &Place<'_>, page: &Page, scripts: bool) -> Vec<String> {
    browser.scripts(scripts);
    browser.open(&place.address(page));
    list(&browser.eval(BONES, &[]))
}

/// Addresses stand in histories, in the logs of proxies and in what is passed on.
fn names_somebody(way: &str) -> bool {
    !way.starts_with("mailto:") && (way.contains('@') || way.to_ascii_lowercase().contains("%40"))
}

/// Why a link of ours leads nowhere, if it does. Forms are not sent.
fn dead_end(visitor: &Visitor, way: &str) -> Option<String> {
    let path = way.split('#').next().filter(|path| path.starts_with('/'))?;
    let status = visitor.get(path).status;
    (!matches!(status, 200 | 303 | 405)).then(|| format!("{path} answers {status}"))
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().expect("a list").iter().map(|item| item.as_str().unwrap_or_default().to_owned()).collect()
}
