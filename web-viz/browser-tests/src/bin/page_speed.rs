//! Benchmarks of the page in a real Chromium. `cargo xtask bench page` builds the page and runs
//! this program with the environment variables that the tests need.
//!
//! Usage: `page_speed --json FILE [--rounds N] [--only NAME] [--chromium VERSION]`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use browser_tests::speed::{crowd, frame_times, gaps, make_long, metric, seek_times, share};
use browser_tests::{Demo, Looks, Page, Process, Site, with_browser};
use serde_json::{Value, json};
use tokio::time::sleep;

/// The writes per second to a live cluster while the page watches it.
const FLOOD: u32 = 10_000;

/// The duration of a measurement of frames and of the paused page.
const WATCH: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = Options::read()?;
    let mut figures = Vec::new();
    for measure in Measure::ALL.into_iter().filter(|it| options.only.is_none_or(|only| only == *it))
    {
        let rounds = if measure == Measure::Hour { 1 } else { options.rounds };
        for round in 1..=rounds {
            eprintln!("page: {} ({round} of {rounds})", measure.name());
            let found = measure.take().await?;
            for figure in &found {
                eprintln!("page:   {}: {:.1}", figure.name, figure.median());
            }
            add(&mut figures, found);
        }
    }
    println!("| page | median | least | most | aim |\n| --- | ---: | ---: | ---: | ---: |");
    for figure in &mut figures {
        figure.values.sort_by(f64::total_cmp);
    }
    figures.iter().for_each(Figure::print);
    let rows: Vec<Value> = figures.iter().map(Figure::json).collect();
    let text = serde_json::to_vec_pretty(&json!({ "chromium": options.chromium, "page": rows }))?;
    std::fs::write(&options.json, text)
        .with_context(|| format!("cannot write {}", options.json.display()))
}

struct Options {
    json: PathBuf,
    rounds: u32,
    only: Option<Measure>,
    /// The browser's version.
    chromium: String,
}

impl Options {
    fn read() -> Result<Self> {
        let mut options =
            Self { json: PathBuf::new(), rounds: 3, only: None, chromium: String::new() };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--json" => options.json = value.into(),
                "--rounds" => options.rounds = value.parse().context("--rounds takes a number")?,
                "--only" => options.only = Some(Measure::of(&value)?),
                "--chromium" => options.chromium = value,
                _ => bail!("there is no {name}; there are --json, --rounds, --only and --chromium"),
            }
        }
        ensure!(!options.json.as_os_str().is_empty(), "--json must name the file for the figures");
        Ok(options)
    }
}

/// A figure with all its measured values.
struct Figure {
    name: &'static str,
    /// The target value, in words.
    aim: &'static str,
    values: Vec<f64>,
}

impl Figure {
    const fn of(name: &'static str, aim: &'static str) -> Self {
        Self { name, aim, values: Vec::new() }
    }

    fn with(mut self, value: f64) -> Self {
        self.values.push(value);
        self
    }

    fn median(&self) -> f64 {
        self.values.get(self.values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn print(&self) {
        let [least, most] = [self.values.first(), self.values.last()];
        println!(
            "| {} | {:.1} | {:.1} | {:.1} | {} |",
            self.name,
            self.median(),
            least.unwrap_or(&f64::NAN),
            most.unwrap_or(&f64::NAN),
            self.aim
        );
    }

    fn json(&self) -> Value {
        json!({ "name": self.name, "aim": self.aim, "median": self.median(), "values": self.values })
    }
}

/// Adds the figures of a round.
fn add(figures: &mut Vec<Figure>, found: Vec<Figure>) {
    for figure in found {
        match figures.iter_mut().find(|cluster| cluster.name == figure.name) {
            Some(cluster) => cluster.values.extend(figure.values),
            None => figures.push(figure),
        }
    }
}

/// A measurement; each uses its own browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Start,
    Frames,
    Seek,
    Hour,
    Paused,
    Flood,
}

impl Measure {
    const ALL: [Self; 6] =
        [Self::Start, Self::Frames, Self::Seek, Self::Hour, Self::Paused, Self::Flood];

    fn of(name: &str) -> Result<Self> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|it| it.name() == name);
        found.with_context(|| format!("`{name}` is not measured; there are: {}", names()))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Frames => "frames",
            Self::Seek => "seek",
            Self::Hour => "hour",
            Self::Paused => "pause",
            Self::Flood => "flood",
        }
    }

    async fn take(self) -> Result<Vec<Figure>> {
        let site = Site::open().await?;
        let mut found = Ok(Vec::new());
        with_browser(Looks::PLAIN, async |page| {
            found = match self {
                Self::Start => start(page, &site).await,
                Self::Frames => frames(page, &site).await,
                Self::Seek => seek(page, &site).await,
                Self::Hour => hour(page, &site).await,
                Self::Paused => paused(page, &site).await,
                Self::Flood => flood(page).await,
            };
        })
        .await?;
        found
    }
}

async fn open(page: &Page, site: &Site, servers: u64) -> Result<()> {
    let url = format!("{}/#source=simulate&seed=1&servers={servers}", site.url());
    page.open(&url, Looks::PLAIN).await
}

/// The time from the first request until servers are drawn and can be clicked, with an empty cache.
async fn start(page: &Page, site: &Site) -> Result<Vec<Figure>> {
    let watch = "new MutationObserver((_, watch) => { \
                   if (document.querySelector('[data-testid=play]') \
                       && document.querySelector('[data-testid=server-S1]')) { \
                     watch.disconnect(); \
                     requestAnimationFrame(() => window.usableAt = performance.now()); \
                   } \
                 }).observe(document, { childList: true, subtree: true })";
    let script = json!({ "source": watch });
    page.devtools("Page.addScriptToEvaluateOnNewDocument", script).await?;
    open(page, site, 3).await?;
    page.wait("the first frame", "window.usableAt > 0").await;
    let usable = number(&page.ask("window.usableAt").await)?;
    Ok(vec![Figure::of("usable after, in ms", "≤ 1000").with(usable)])
}

/// Frames while more than 200 messages are in transit between seven servers.
async fn frames(page: &Page, site: &Site) -> Result<Vec<Figure>> {
    open(page, site, 7).await?;
    page.devtools("Performance.enable", json!({})).await?;
    crowd(page).await;
    let before = page.devtools("Performance.getMetrics", json!({})).await?;
    let gaps = frame_times(page, WATCH).await?;
    let after = page.devtools("Performance.getMetrics", json!({})).await?;
    let count = f64::from(u32::try_from(gaps.len())?);
    let spent = |name: &str| Ok::<_, anyhow::Error>(metric(&after, name)? - metric(&before, name)?);
    Ok(vec![
        Figure::of("frames/s, 7 servers, 200 messages", "60")
            .with(1000.0 * count / gaps.iter().sum::<f64>()),
        Figure::of("the slowest of 20 frames, in ms", "").with(share(&gaps, 95)),
        Figure::of("script a frame, in ms", "").with(1000.0 * spent("ScriptDuration")? / count),
        Figure::of("style and layout a frame, in ms", "")
            .with(1000.0 * (spent("RecalcStyleDuration")? + spent("LayoutDuration")?) / count),
    ])
}

/// The time from moving the handle until the document shows the moment, all over a run of 100,000
/// events.
async fn seek(page: &Page, site: &Site) -> Result<Vec<Figure>> {
    open(page, site, 5).await?;
    make_long(page).await;
    let times = seek_times(page).await?;
    Ok(vec![
        Figure::of("going to a moment in 100,000 events, in ms", "≤ 16").with(share(&times, 50)),
        Figure::of("the slowest of 20 such, in ms", "≤ 16").with(share(&times, 95)),
    ])
}

/// The memory of the page's process after an hour of simulated time.
async fn hour(page: &Page, site: &Site) -> Result<Vec<Figure>> {
    open(page, site, 3).await?;
    page.slide("speed", 15).await;
    page.wait_for_leader(None).await;
    let process = process(page)?;
    let before = process.memory().context("memory cannot be read")?;
    let clock = "parseFloat(document.querySelector('[data-testid=clock]').innerText)";
    // At 100 times real time this takes 36 s, if the machine can follow.
    while number(&page.ask(clock).await)? < 3600.0 {
        sleep(Duration::from_millis(500)).await;
    }
    let after = process.memory().context("memory cannot be read")?;
    let grown = after.saturating_sub(before);
    Ok(vec![
        Figure::of("memory of the page's process at the start, in MB", "").with(megabytes(before)),
        Figure::of("what a simulated hour adds, in MB", "").with(megabytes(grown)),
    ])
}

/// The CPU use of the page's process while the clock stands.
async fn paused(page: &Page, site: &Site) -> Result<Vec<Figure>> {
    open(page, site, 3).await?;
    page.slide("speed", 8).await;
    page.wait_for_leader(None).await;
    page.press(" ").await;
    let process = process(page)?;
    let rests = "document.getAnimations().every(it => it.playState !== 'running')";
    page.wait("the page to rest", rests).await;
    let before = process.time().context("its time cannot be read")?;
    sleep(WATCH).await;
    let worked = process.time().context("its time cannot be read")?.saturating_sub(before);
    let share = 100.0 * worked.as_secs_f64() / WATCH.as_secs_f64();
    Ok(vec![Figure::of("processor while paused, in %", "0").with(share)])
}

/// A cluster of three real servers that takes 10,000 writes per second while the page watches it.
async fn flood(page: &Page) -> Result<Vec<Figure>> {
    let demo = Demo::start().await?;
    page.open(&format!("{}/#source=live", demo.url()), Looks::PLAIN).await?;
    page.wait_for_leader(None).await;
    page.devtools("Performance.enable", json!({})).await?;
    let process = process(page)?;
    let counting = "(() => { const seen = window.seen = []; \
                      const tick = () => { seen.push(performance.now()); requestAnimationFrame(tick); }; \
                      requestAnimationFrame(tick); return true; })()";
    page.ask(counting).await;
    let metrics = async || page.devtools("Performance.getMetrics", json!({})).await;
    let load = demo.load(2 * WATCH, Some(FLOOD));
    let watch = async {
        // By then the load has started and has reached the page.
        sleep(WATCH / 2).await;
        let (before, worked) = (metrics().await?, process.time());
        page.ask("window.seen.length = 0, true").await;
        sleep(WATCH).await;
        let gaps = gaps(&page.ask("window.seen").await);
        let worked = process.time().zip(worked).map(|(after, before)| after.saturating_sub(before));
        let lag =
            page.ask("parseFloat(document.querySelector('[data-testid=lag]').innerText)").await;
        anyhow::Ok((before, metrics().await?, gaps, worked, lag))
    };
    let (writes, watched) = tokio::join!(load, watch);
    let (before, after, gaps, worked, lag) = watched?;
    // If the page lost its cluster, it would log console errors.
    page.devtools("Page.navigate", json!({ "url": "about:blank" })).await?;
    demo.end().await;
    let count = f64::from(u32::try_from(gaps.len())?);
    let spent = |name: &str| Ok::<_, anyhow::Error>(metric(&after, name)? - metric(&before, name)?);
    let worked = worked.context("the page's time cannot be read")?.as_secs_f64();
    Ok(vec![
        Figure::of("flood: writes/s", "10,000").with(writes?),
        Figure::of("flood: frames/s", "60").with(1000.0 * count / gaps.iter().sum::<f64>()),
        Figure::of("flood: the slowest of 20 frames, in ms", "").with(share(&gaps, 95)),
        Figure::of("flood: script a frame, in ms", "")
            .with(1000.0 * spent("ScriptDuration")? / count),
        Figure::of("flood: style and layout a frame, in ms", "")
            .with(1000.0 * (spent("RecalcStyleDuration")? + spent("LayoutDuration")?) / count),
        Figure::of("flood: the page's process, in % of a processor", "")
            .with(100.0 * worked / WATCH.as_secs_f64()),
        Figure::of("flood: the page is behind by, in s", "").with(number(&lag)?),
    ])
}

fn process(page: &Page) -> Result<Process> {
    page.process().context("the browser's processes can be looked at on Linux alone")
}

fn number(value: &Value) -> Result<f64> {
    value.as_f64().with_context(|| format!("{value} is no number"))
}

fn megabytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1000).unwrap_or(u32::MAX)) / 1e3
}
