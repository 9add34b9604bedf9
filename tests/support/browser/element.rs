//! What is on a page, found as a person finds it: by the name of a button or link, or the label of a field.

use serde_json::{Value, json};

use super::Browser;
use crate::wait;

/// The key under which WebDriver keeps an element's id (w3.org/TR/webdriver2, "Elements").
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Something on the page that is open.
pub struct Element<'b> {
    browser: &'b Browser,
    id: String,
}

impl Browser {
    /// What this CSS selector finds now.
    #[track_caller]
    pub fn all(&self, css: &str) -> Vec<Element<'_>> {
        self.by("css selector", css)
    }

    /// Waits for the first that this CSS selector finds.
    #[track_caller]
    pub fn find(&self, css: &str) -> Element<'_> {
        self.wait_for("css selector", css, css)
    }

    /// Waits for a button or link with this name and presses it; waits for the page that it leads to.
    #[track_caller]
    pub fn press(&self, name: &str) {
        let is = format!("[normalize-space()={0} or @value={0} or @aria-label={0}]", quoted(name));
        let path = ["button", "a", "summary", "input"].map(|tag| format!("//{tag}{is}")).join(" | ");
        self.wait_for("xpath", &path, &format!("a button or link {name:?}")).click();
    }

    /// Waits for the field with this label.
    #[track_caller]
    pub fn field(&self, label: &str) -> Element<'_> {
        let name = quoted(label);
        let fields = "(self::input or self::select or self::textarea)";
        let path = format!(
            "//*[{fields} and (@id = //label[normalize-space()={name}]/@for or @aria-label={name} \
             or ancestor::label[normalize-space(text())={name} or span[normalize-space()={name}]])]"
        );
        self.wait_for("xpath", &path, &format!("a field {label:?}"))
    }

    /// Waits for the first visible one.
    #[track_caller]
    fn wait_for(&self, by: &str, selector: &str, what: &str) -> Element<'_> {
        let found = wait::within(wait::PATIENCE, || self.by(by, selector).into_iter().find(Element::is_shown));
        found.unwrap_or_else(|| panic!("{what} is not on {}:\n{}", self.url(), self.text()))
    }

    #[track_caller]
    fn by(&self, using: &str, selector: &str) -> Vec<Element<'_>> {
        let found = self.say("/elements", &json!({ "using": using, "value": selector }));
        let ids = found.as_array().expect("a list").iter().map(|element| element[ELEMENT].as_str().expect("an id").to_owned());
        ids.map(|id| Element { browser: self, id }).collect()
    }
}

impl Element<'_> {
    /// Presses it.
    #[track_caller]
    pub fn click(&self) {
        self.say("/click", &json!({}));
    }

    /// Puts this in the place of what it holds.
    #[track_caller]
    pub fn fill(&self, text: &str) {
        self.say("/clear", &json!({}));
        self.say("/value", &json!({ "text": text }));
    }

    /// Chooses the option that begins with this text.
    #[track_caller]
    pub fn choose(&self, option: &str) {
        let path = format!("./option[starts-with(normalize-space(), {})]", quoted(option));
        let found = self.say("/element", &json!({ "using": "xpath", "value": path }));
        let id = found[ELEMENT].as_str().expect("an id").to_owned();
        Element { browser: self.browser, id }.click();
    }

    /// The text that is to be seen in it.
    #[track_caller]
    pub fn text(&self) -> String {
        self.browser.eval("return arguments[0].innerText", &[self.argument()]).as_str().expect("text").to_owned()
    }

    /// An attribute; `None` if it has none.
    #[track_caller]
    pub fn attribute(&self, name: &str) -> Option<String> {
        let value = self.browser.eval("return arguments[0].getAttribute(arguments[1])", &[self.argument(), json!(name)]);
        value.as_str().map(str::to_owned)
    }

    /// Whether it is to be seen; what is gone by now is not.
    fn is_shown(&self) -> bool {
        let path = format!("/session/{}/element/{}/displayed", self.browser.session, self.id);
        self.browser.try_ask("GET", &path, &Value::Null) == Ok(Value::Bool(true))
    }

    fn argument(&self) -> Value {
        json!({ ELEMENT: self.id })
    }

    #[track_caller]
    fn say(&self, path: &str, body: &Value) -> Value {
        self.browser.say(&format!("/element/{}{path}", self.id), body)
    }
}

/// Text as XPath writes it, which knows no escapes.
fn quoted(text: &str) -> String {
    let parts: Vec<String> = text.split('"').map(|part| format!("\"{part}\"")).collect();
    match &parts[..] {
        [one] => one.clone(),
        _ => format!("concat({})", parts.join(", '\"', ")),
    }
}
