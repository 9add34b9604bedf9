//! `tests/pages/shoot`: see there.

use std::{fs, path::Path};

use support::{
    browser::{Browser, Screen, Theme},
    pages::{LOGIN, PAGES, Page, Place},
    town::{PEOPLE, Town},
};

/// The pictures in README: the overview as it is seen first, by day and, in a phone's hand, by night; and their heights.
const README: [(&str, Screen, Theme, u32); 2] =
    [("overview", Screen::Desktop, Theme::Light, 640), ("overview", Screen::Phone, Theme::Dark, 640)];
/// Where they are, from the repository's root.
const PICTURES: &str = "tests/pages/pictures";
/// Readers of README load these before they can read on.
const README_MAX: usize = 150_000;

fn main() {
    let argument = std::env::args().nth(1);
    let town = Town::start("");
    let place = Place::new(&town.relay, town.http);
    let (name, password, _) = PEOPLE[0];
    if argument.as_deref() == Some("--stay") {
        eprintln!("{} as {name} with {password:?}, of {}; Enter ends it", place.at("/"), town.relay.dir().display());
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let browser = Browser::start();
    if argument.as_deref() == Some("--readme") {
        place.login(&browser, name, password);
        return readme(&browser, &place);
    }
    let folder = argument.unwrap_or_else(|| "target/pages".into());
    fs::create_dir_all(&folder).expect("the folder can be made");
    all(&browser, &place, &LOGIN, Path::new(&folder));
    place.login(&browser, name, password);
    for page in PAGES {
        all(&browser, &place, page, Path::new(&folder));
    }
    eprintln!("pictures of {} pages are in {folder}", PAGES.len() + 1);
}

/// The four pictures of a page.
fn all(browser: &Browser, place: &Place<'_>, page: &Page, folder: &Path) {
    let address = place.address(page);
    for screen in Screen::ALL {
        for theme in Theme::ALL {
            browser.look(screen, theme);
            browser.open(&address);
            for said in browser.complaints() {
                eprintln!("{}: {said}", page.name);
            }
            let file = folder.join(format!("{}-{}-{}.png", page.name, screen.word(), theme.word()));
            fs::write(file, browser.picture()).expect("the folder is ours");
        }
    }
    browser.look(Screen::Desktop, Theme::Light);
}

fn readme(browser: &Browser, place: &Place<'_>) {
    fs::create_dir_all(PICTURES).expect("the folder can be made");
    for (name, screen, theme, height) in README {
        let page = PAGES.iter().find(|page| page.name == name).expect("a page of the table");
        browser.look(screen, theme);
        browser.open(&place.address(page));
        let picture = browser.top(screen, height);
        assert!(picture.len() <= README_MAX, "{name} has {} bytes, more than {README_MAX}", picture.len());
        fs::write(Path::new(PICTURES).join(format!("{name}-{}-{}.png", screen.word(), theme.word())), picture).expect("the folder is ours");
    }
}
