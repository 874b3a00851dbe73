//! How fast the page is: what the measurements and the tests have in common.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::Page;

/// Puts at once, each of which goes to six followers: more than 200 messages on their way.
const PUTS: u32 = 40;

/// Messages that are on their way in every frame that counts.
const MESSAGES: u64 = 200;

/// Events of the run in which places are sought.
const EVENTS: u64 = 100_000;

/// Places that are sought, spread over the whole run.
const PLACES: u32 = 200;

/// So many of them in one script.
const AT_ONCE: usize = 20;

const FLIGHTS: &str = "document.querySelectorAll('[data-testid=flight]').length";

/// Brings more than 200 messages on their way, in a page of seven simulated servers.
pub async fn crowd(page: &Page) {
    page.slide("speed", 8).await;
    page.wait_for_leader(None).await;
    page.click("tray-network").await;
    page.slide("delay", 240).await;
    page.press(" ").await;
    page.slide("speed", 1).await;
    for _ in 0..PUTS {
        page.press("c").await;
    }
    page.press(" ").await;
    page.wait("the messages", &format!("{FLIGHTS} >= {MESSAGES}")).await;
}

/// How long each frame took in that time, in milliseconds, shortest first.
///
/// # Errors
/// When there were frames with fewer messages than there should be.
pub async fn frame_times(page: &Page, watched: Duration) -> Result<Vec<f64>> {
    let counted = page
        .ask(&format!(
            "new Promise(done => {{ \
               const times = []; let least = 1e9; const start = performance.now(); \
               const tick = () => {{ \
                 const now = performance.now(); times.push(now); \
                 least = Math.min(least, {FLIGHTS}); \
                 if (now - start < {}) requestAnimationFrame(tick); \
                 else done({{ times, least }}); \
               }}; \
               requestAnimationFrame(tick); \
             }})",
            watched.as_millis()
        ))
        .await;
    let least = counted["least"].as_u64().unwrap_or(0);
    ensure!(least >= MESSAGES, "there were frames with {least} messages only");
    Ok(gaps(&counted["times"]))
}

/// What lies between moments of the page's clock, shortest first.
pub fn gaps(times: &Value) -> Vec<f64> {
    let times = numbers(times);
    let mut gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_by(f64::total_cmp);
    gaps
}

/// Lets a page run for 100,000 events and stop there.
pub async fn make_long(page: &Page) {
    page.slide("speed", 15).await;
    let told = "Number(document.querySelector('[data-testid=scrub]').dataset.events)";
    page.wait("the events", &format!("{told} >= {EVENTS}")).await;
    page.press(" ").await;
}

/// How long it took to go to each of many moments, all over a run that [`make_long`] made, in
/// milliseconds, shortest first: from moving the handle until the document shows it, layout included.
///
/// # Errors
/// When the page does not tell.
pub async fn seek_times(page: &Page) -> Result<Vec<f64>> {
    let end = page.ask("Number(document.querySelector('[data-testid=seek]').value)").await;
    let mut times = Vec::new();
    // A script has a time limit, which a busy machine needs for fewer.
    for first in (0..PLACES).step_by(AT_ONCE) {
        let told = page
            .ask(&format!(
                "(async () => {{ \
                   const handle = document.querySelector('[data-testid=seek]'); \
                   const channel = new MessageChannel(); \
                   const rest = () => new Promise(done => {{ \
                     channel.port1.onmessage = done; channel.port2.postMessage(0); \
                   }}); \
                   const times = []; let place = (0.5 + {first} * 0.6180339887) % 1; \
                   for (let count = 0; count < {AT_ONCE}; count++) {{ \
                     place = (place + 0.6180339887) % 1; \
                     handle.value = Math.round({end} * place); \
                     const start = performance.now(); \
                     handle.dispatchEvent(new Event('input', {{ bubbles: true }})); \
                     await rest(); \
                     document.body.getBoundingClientRect(); \
                     times.push(performance.now() - start); \
                     await new Promise(requestAnimationFrame); \
                   }} \
                   return times; \
                 }})()"
            ))
            .await;
        times.extend(numbers(&told));
    }
    ensure!(!times.is_empty(), "the page tells no times");
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// The CPU time of a page's scripts, styles and layout. Other programs lengthen it far less than
/// wall-clock time.
#[derive(Debug)]
pub struct Work(f64);

impl Work {
    /// Starts to measure.
    ///
    /// # Errors
    /// When the browser does not report it.
    pub async fn of(page: &Page) -> Result<Self> {
        page.devtools("Performance.enable", json!({ "timeDomain": "threadTicks" })).await?;
        Ok(Self(worked(page).await?))
    }

    /// The CPU time since the start, in milliseconds.
    ///
    /// # Errors
    /// When the browser does not report it, or reports none: a page that is drawn takes some.
    pub async fn millis(&self, page: &Page) -> Result<f64> {
        let spent = worked(page).await? - self.0;
        ensure!(spent > 0.0, "the page took no CPU time");
        Ok(spent * 1e3)
    }
}

/// The page's CPU time so far, in seconds.
async fn worked(page: &Page) -> Result<f64> {
    let metrics = page.devtools("Performance.getMetrics", json!({})).await?;
    let parts = ["ScriptDuration", "RecalcStyleDuration", "LayoutDuration"];
    parts.iter().map(|name| metric(&metrics, name)).sum()
}

/// One of the browser's metrics, in seconds.
///
/// # Errors
/// When the browser does not report it.
pub fn metric(metrics: &Value, name: &str) -> Result<f64> {
    let all = metrics["metrics"].as_array().into_iter().flatten();
    let mut found = all.filter(|metric| metric["name"] == name);
    let value = found.next().and_then(|metric| metric["value"].as_f64());
    value.with_context(|| format!("the browser reports no {name}"))
}

/// The value below which so many of a hundred lie.
pub fn share(sorted: &[f64], of_hundred: usize) -> f64 {
    let place = (sorted.len() * of_hundred / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}
