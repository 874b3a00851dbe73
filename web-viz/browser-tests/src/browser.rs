//! A browser for a single test.

use std::panic::AssertUnwindSafe;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fantoccini::{Client, ClientBuilder};
use futures_util::FutureExt as _;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::Page;

/// The maximum number of browsers at once. More browsers slow each other down on a small machine.
static BROWSERS: Semaphore = Semaphore::const_new(2);

/// The time limit for the start of driver and browser.
const PATIENCE: Duration = Duration::from_mins(1);

/// The size of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// 1440 by 900 pixels, with a mouse.
    Desktop,
    /// 1920 by 1080 pixels, like a projector or a large screen.
    Projector,
    /// 390 by 844 pixels, with touch input.
    Phone,
}

/// The colour scheme that the system asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// Dark.
    Dark,
    /// Light.
    Light,
}

/// The size and colours of a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// Its size.
    pub screen: Screen,
    /// Its colours.
    pub colours: Colours,
}

impl Looks {
    /// A dark desktop, for tests that do not depend on looks.
    pub const PLAIN: Self = Self { screen: Screen::Desktop, colours: Colours::Dark };
}

/// Runs `test` with the page at `url`, and closes the browser afterwards, also after a failure.
///
/// # Errors
/// Fails if no browser starts, or if the page wrote an error to the console. Panics of the test
/// pass through.
pub async fn with_page(url: &str, looks: Looks, test: impl AsyncFnOnce(&Page)) -> Result<()> {
    with_browser(looks, async |page| {
        page.open(url, looks).await.expect("the page opens");
        test(page).await;
    })
    .await
}

/// Like [`with_page`], but with an empty browser.
///
/// # Errors
/// The same as [`with_page`].
pub async fn with_browser(looks: Looks, test: impl AsyncFnOnce(&Page)) -> Result<()> {
    let _place = BROWSERS.acquire().await.expect("the semaphore is never closed");
    let mut driver = Driver::start().await?;
    let client = timeout(PATIENCE, driver.browser(looks)).await.context("no browser in time")??;
    let page = Page::new(client.clone(), driver.process.id());
    let result = AssertUnwindSafe(async {
        test(&page).await;
        page.complaints().await.expect("the browser shows its console")
    })
    .catch_unwind()
    .await;
    // If the browser does not close, it ends together with its driver.
    let _ = timeout(PATIENCE, client.close()).await;
    driver.end().await;
    match result {
        Ok(complaints) => {
            ensure!(complaints.is_empty(), "errors in the console:\n{}", complaints.join("\n"));
            Ok(())
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A chromedriver process and the profile directory of its browser.
struct Driver {
    process: Child,
    url: String,
    profile: TempDir,
}

impl Driver {
    async fn start() -> Result<Self> {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("chromedriver cannot be started; `cargo xtask setup` installs it")?;
        let stdout = process.stdout.take().context("chromedriver has no output")?;
        let port = timeout(PATIENCE, port_of(BufReader::new(stdout))).await;
        let port = port.context("chromedriver does not say its port")??;
        let profile = tempfile::tempdir().context("no directory for the browser")?;
        Ok(Self { process, url: format!("http://127.0.0.1:{port}"), profile })
    }

    async fn browser(&self, looks: Looks) -> Result<Client> {
        let Value::Object(capabilities) = self.capabilities(looks) else {
            unreachable!("capabilities are an object")
        };
        ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&self.url)
            .await
            .context("the browser does not start")
    }

    fn capabilities(&self, looks: Looks) -> Value {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let arguments = [
            "--headless",
            // The tests may run as root in a container.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--window-size=1440,900",
            &profile,
        ];
        let mut chrome = json!({ "args": arguments });
        if looks.screen == Screen::Phone {
            chrome["mobileEmulation"] = json!({
                "deviceMetrics": { "width": 390, "height": 844, "pixelRatio": 2, "touch": true }
            });
        }
        json!({
            "browserName": "chrome",
            "goog:chromeOptions": chrome,
            "goog:loggingPrefs": { "browser": "ALL" },
        })
    }

    async fn end(&mut self) {
        let _ = self.process.kill().await;
    }
}

/// Reads the port from chromedriver's first lines of output.
async fn port_of(mut output: BufReader<tokio::process::ChildStdout>) -> Result<u16> {
    let mut line = String::new();
    while output.read_line(&mut line).await? > 0 {
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            // Its further output must be read, because chromedriver blocks on a full pipe.
            tokio::spawn(async move { tokio::io::copy(&mut output, &mut tokio::io::sink()).await });
            return port.trim().trim_end_matches('.').parse().context("the port is no number");
        }
        line.clear();
    }
    anyhow::bail!("chromedriver ended at once")
}
