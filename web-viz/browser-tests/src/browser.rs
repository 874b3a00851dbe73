//! A browser for one test.

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

/// Browsers at once: more make each other slow on a small machine.
static BROWSERS: Semaphore = Semaphore::const_new(2);

/// How long driver and browser may take to start.
const PATIENCE: Duration = Duration::from_mins(1);

/// How large the page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// 1440 by 900 pixels, with a mouse.
    Desktop,
    /// 1920 by 1080 pixels, as on a projector or a large screen.
    Projector,
    /// 390 by 844 pixels, touched by fingers.
    Phone,
}

/// The colours that the person's system asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// Dark.
    Dark,
    /// Light.
    Light,
}

/// What the browser is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// Its size.
    pub screen: Screen,
    /// Its colours.
    pub colours: Colours,
}

impl Looks {
    /// A dark desktop, where looks do not matter.
    pub const PLAIN: Self = Self { screen: Screen::Desktop, colours: Colours::Dark };
}

/// Runs `test` with the page at `url`; ends the browser afterwards, also when the test fails. Fails
/// when the page wrote an error to the console.
///
/// # Errors
/// When no browser can be had; the test itself panics.
pub async fn with_page(url: &str, looks: Looks, test: impl AsyncFnOnce(&Page)) -> Result<()> {
    with_browser(looks, async |page| {
        page.open(url, looks).await.expect("the page opens");
        test(page).await;
    })
    .await
}

/// As [`with_page`], with a browser that shows nothing yet.
///
/// # Errors
/// When no browser can be had; the test itself panics.
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
    // A browser that does not close any more is ended together with its driver.
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

/// A chromedriver and the directory in which its browser lives.
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
            // The tests may run as root, in a container.
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

/// Reads the port off chromedriver's greeting.
async fn port_of(mut output: BufReader<tokio::process::ChildStdout>) -> Result<u16> {
    let mut line = String::new();
    while output.read_line(&mut line).await? > 0 {
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            // It goes on writing; nobody reading must not stop it.
            tokio::spawn(async move { tokio::io::copy(&mut output, &mut tokio::io::sink()).await });
            return port.trim().trim_end_matches('.').parse().context("the port is no number");
        }
        line.clear();
    }
    anyhow::bail!("chromedriver ended at once")
}
