//! The actions of a test on the page, in a person's terms.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, Locator};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use url::{ParseError, Url};

use crate::browser::{Colours, Looks, Screen};
use crate::process::Process;

/// The time limit for a condition. Elections in slow motion take some seconds, and more on a busy
/// machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The interval between two checks of a condition.
const LOOK: Duration = Duration::from_millis(50);

/// The maximum number of steps until a condition holds: some rounds of heartbeats.
const STEPS: u32 = 300;

/// The page in a browser. Like assertions, its methods panic if the page does not react as
/// expected.
#[derive(Clone, Debug)]
pub struct Page {
    client: Client,
    /// The process ID of the driver, an ancestor of the browser's processes.
    driver: Option<u32>,
    /// Substrings of expected console errors.
    expected: Arc<Mutex<Vec<&'static str>>>,
}

impl Page {
    pub(crate) fn new(client: Client, driver: Option<u32>) -> Self {
        Self { client, driver, expected: Arc::default() }
    }

    /// The process that renders the page; `None` if processes cannot be inspected.
    pub fn process(&self) -> Option<Process> {
        Process::below(self.driver?)
    }

    /// Opens an address with the size and colours of `looks`, and waits until the page starts.
    ///
    /// # Errors
    /// Fails if the browser refuses a command.
    pub async fn open(&self, url: &str, looks: Looks) -> Result<()> {
        let colours = match looks.colours {
            Colours::Dark => "dark",
            Colours::Light => "light",
        };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": colours }] });
        self.devtools("Emulation.setEmulatedMedia", media).await?;
        let size = match looks.screen {
            Screen::Desktop => Some((1440, 900)),
            Screen::Projector => Some((1920, 1080)),
            Screen::Phone => None,
        };
        if let Some((width, height)) = size {
            // The browser would use a part of the window's size for itself.
            let size = json!({
                "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false
            });
            self.devtools("Emulation.setDeviceMetricsOverride", size).await?;
        }
        self.client.goto(url).await?;
        self.wait("the page to start", "document.querySelector('.page') !== null").await;
        Ok(())
    }

    /// Goes to an address without waiting for the page.
    ///
    /// # Errors
    /// Fails if the browser refuses.
    pub async fn go(&self, url: &str) -> Result<()> {
        Ok(self.client.goto(url).await?)
    }

    /// Permits console errors that contain `about`. Any other error fails the test.
    pub fn expect_complaints(&self, about: &'static str) {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).push(about);
    }

    /// Runs a DevTools command.
    ///
    /// # Errors
    /// Fails if the browser refuses.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Result<Value> {
        let command = Vendor {
            path: "goog/cdp/execute",
            body: json!({ "cmd": command, "params": parameters }),
        };
        self.client.issue_cmd(command).await.context("a devtools command")
    }

    /// Sends a command that only chromedriver knows.
    pub(crate) async fn issue(&self, command: Vendor) -> Result<Value> {
        self.client.issue_cmd(command).await.context("a command of the driver")
    }

    /// The unexpected errors in the console.
    pub(crate) async fn complaints(&self) -> Result<Vec<String>> {
        let log = Vendor { path: "se/log", body: json!({ "type": "browser" }) };
        let log = self.client.issue_cmd(log).await?;
        let entries = log.as_array().cloned().unwrap_or_default();
        let severe = entries.into_iter().filter(|entry| entry["level"] == "SEVERE");
        let expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(severe
            .map(|entry| entry["message"].to_string())
            .filter(|complaint| !expected.iter().any(|about| complaint.contains(about)))
            .collect())
    }

    /// Evaluates a JavaScript expression.
    pub async fn ask(&self, expression: &str) -> Value {
        let script = format!("return {expression};");
        match self.client.execute(&script, Vec::new()).await {
            Ok(value) => value,
            Err(error) => panic!("cannot evaluate {expression}: {error}"),
        }
    }

    /// Waits until an expression is true.
    pub async fn wait(&self, what: &str, condition: &str) {
        let start = Instant::now();
        while !matches!(self.ask(condition).await, Value::Bool(true)) {
            if start.elapsed() > PATIENCE {
                let says = "['.caption', '.notices', '.answers', '.complaint'] \
                            .map(part => document.querySelector(part)?.innerText)";
                let says = self.ask(says).await;
                let picture = self.keep_picture().await;
                panic!(
                    "waited in vain for {what} ({condition}); the page says {says}; it looks like \
                     {picture}"
                );
            }
            sleep(LOOK).await;
        }
    }

    /// Steps a paused page event by event until an expression is true. On a playing page a
    /// condition may hold only for a moment.
    pub async fn step_until(&self, what: &str, condition: &str) {
        for _ in 0..STEPS {
            if self.ask(condition).await == true {
                return;
            }
            self.press(&char::from(Key::Right).to_string()).await;
        }
        panic!("{STEPS} steps did not bring {what} ({condition})");
    }

    /// The text of an element.
    pub async fn text(&self, testid: &str) -> String {
        let text = self.ask(&format!("{}?.innerText ?? ''", element(testid))).await;
        text.as_str().unwrap_or_default().trim().to_owned()
    }

    /// An attribute of an element; empty if it is missing.
    pub async fn attribute(&self, testid: &str, name: &str) -> String {
        let value = self.ask(&format!("{}?.getAttribute('{name}') ?? ''", element(testid))).await;
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks an element as a person would, as soon as it is visible. It must not be covered.
    pub async fn click(&self, testid: &str) {
        let rectangles = format!("{}?.getClientRects().length > 0", element(testid));
        self.wait(&format!("{testid} to be visible"), &rectangles).await;
        let selector = selector(testid);
        let found = self.client.find(Locator::Css(&selector)).await;
        let element = found.unwrap_or_else(|error| panic!("there is no {testid}: {error}"));
        element.click().await.unwrap_or_else(|error| panic!("cannot click {testid}: {error}"));
    }

    /// Replaces the text of a field.
    pub async fn fill(&self, testid: &str, text: &str) {
        let selector = selector(testid);
        let field = self.client.find(Locator::Css(&selector)).await;
        let field = field.unwrap_or_else(|error| panic!("there is no {testid}: {error}"));
        let all = format!("{}a", char::from(Key::Control));
        field.send_keys(&all).await.expect("the field takes keys");
        field.send_keys(text).await.expect("the field takes keys");
    }

    /// Sends keys to the page, without a focused element.
    pub async fn press(&self, keys: &str) {
        self.ask("document.activeElement?.blur()").await;
        let body = self.client.find(Locator::Css("body")).await.expect("there is a body");
        body.send_keys(keys).await.expect("the page takes keys");
    }

    /// Moves a slider to a value.
    pub async fn slide(&self, testid: &str, value: u32) {
        let script = format!(
            "const slider = {}; slider.value = '{value}'; \
             slider.dispatchEvent(new Event('input', {{ bubbles: true }}))",
            element(testid)
        );
        self.client.execute(&script, Vec::new()).await.expect("the slider moves");
    }

    /// A screenshot of the visible part, as PNG.
    pub async fn picture(&self) -> Vec<u8> {
        self.client.screenshot().await.expect("the browser takes a picture")
    }

    /// Saves a screenshot for the analysis of a failure and returns its path.
    async fn keep_picture(&self) -> String {
        let kept = tempfile::Builder::new().prefix("glassraft-").suffix(".png").tempfile();
        let path = kept.and_then(|file| file.keep().map_err(|error| error.error));
        match path.map(|(_, path)| path) {
            Ok(path) => {
                let picture = self.client.screenshot().await.unwrap_or_default();
                let written = std::fs::write(&path, picture);
                written.map_or_else(|error| error.to_string(), |()| path.display().to_string())
            }
            Err(error) => error.to_string(),
        }
    }

    // What the page shows

    /// Waits for a leader other than `other` and returns its name.
    pub async fn wait_for_leader(&self, other: Option<&str>) -> String {
        let other = other.unwrap_or("none");
        let condition = format!(
            "/^S\\d$/.test({leader}?.innerText.trim()) && {leader}.innerText.trim() !== '{other}'",
            leader = element("leader")
        );
        self.wait("a leader", &condition).await;
        self.text("leader").await
    }

    /// Waits until a server is drawn in a role.
    pub async fn wait_for_role(&self, server: &str, role: &str) {
        let server = element(&format!("server-{server}"));
        self.wait(role, &format!("{server}?.dataset.role === '{role}'")).await;
    }

    /// Waits until the matrix shows an entry applied on all of `servers`, in one column.
    pub async fn wait_for_entry(&self, words: &str, servers: &[&str]) {
        let servers = json!(servers);
        let condition = format!(
            "[...document.querySelectorAll('[data-testid^=column-]')].some(column => {{ \
               const index = column.dataset.testid.slice('column-'.length); \
               return {servers}.every(server => {{ \
                 const cell = document.querySelector(`[data-testid=cell-${{server}}-${{index}}]`); \
                 return cell?.dataset.words === {words} && cell.dataset.state === 'applied'; \
               }}); \
             }})",
            words = json!(words)
        );
        self.wait(&format!("{words} on {servers}"), &condition).await;
    }
}

fn selector(testid: &str) -> String {
    format!("[data-testid='{testid}']")
}

fn element(testid: &str) -> String {
    format!("document.querySelector(\"{}\")", selector(testid))
}

/// A command that only chromedriver knows.
#[derive(Debug)]
pub(crate) struct Vendor {
    pub(crate) path: &'static str,
    pub(crate) body: Value,
}

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}
