//! Page speed: the code that benchmarks and tests share.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::Page;

/// The number of concurrent puts. Each goes to six followers, so more than 200 messages are in
/// transit.
const PUTS: u32 = 40;

/// The minimum number of messages in transit in every counted frame.
const MESSAGES: u64 = 200;

/// The number of events of the run for seeking.
const EVENTS: u64 = 100_000;

/// The number of seeks, spread over the whole run.
const PLACES: u32 = 200;

/// The number of seeks in one script.
const AT_ONCE: usize = 20;

const FLIGHTS: &str = "document.querySelectorAll('[data-testid=flight]').length";

/// Puts more than 200 messages in transit, on a page with seven simulated servers.
pub async fn crowd(page: &Page) {
    page.slide("speed", 8).await;
    page.wait_for_leader(None).await;
    page.click("faults-network").await;
    page.slide("delay", 240).await;
    page.press(" ").await;
    page.slide("speed", 1).await;
    for _ in 0..PUTS {
        page.press("c").await;
    }
    page.press(" ").await;
    page.wait("the messages", &format!("{FLIGHTS} >= {MESSAGES}")).await;
}

/// Measures the duration of each frame within `watched`, in milliseconds, in ascending order.
///
/// # Errors
/// Fails if a frame has too few messages.
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

/// The intervals between timestamps of the page, in ascending order.
pub fn gaps(times: &Value) -> Vec<f64> {
    let times = numbers(times);
    let mut gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_by(f64::total_cmp);
    gaps
}

/// Runs the page for 100,000 events and pauses it. The page itself watches for the last of them: a
/// test on a busy machine would notice it late, and a longer run has longer ways.
pub async fn make_long(page: &Page) {
    page.ask(&format!(
        "(() => {{ \
           const look = () => {{ \
             const told = document.querySelector('[data-testid=scrub]').dataset.events; \
             if (Number(told) < {EVENTS}) requestAnimationFrame(look); \
             else document.querySelector('[data-testid=play]').click(); \
           }}; \
           requestAnimationFrame(look); \
         }})()"
    ))
    .await;
    page.slide("speed", 15).await;
    let playing = "document.querySelector('[data-testid=play]').dataset.playing === 'false'";
    page.wait("the events", playing).await;
}

/// Measures seeks over a run that [`make_long`] made, in milliseconds, in ascending order: from
/// moving the handle until the document shows the moment, including layout.
///
/// # Errors
/// Fails if the page returns no times.
pub async fn seek_times(page: &Page) -> Result<Vec<f64>> {
    let end = page.ask("Number(document.querySelector('[data-testid=seek]').value)").await;
    let mut times = Vec::new();
    // Scripts have a time limit, so on a busy machine a script must not make too many seeks.
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
    /// Starts the measurement.
    ///
    /// # Errors
    /// Fails if the browser does not report CPU time.
    pub async fn of(page: &Page) -> Result<Self> {
        page.devtools("Performance.enable", json!({ "timeDomain": "threadTicks" })).await?;
        Ok(Self(worked(page).await?))
    }

    /// The CPU time since the start, in milliseconds.
    ///
    /// # Errors
    /// Fails if the browser does not report it, or reports none; a drawn page uses some.
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

/// A metric of the browser, in seconds.
///
/// # Errors
/// Fails if the browser does not report it.
pub fn metric(metrics: &Value, name: &str) -> Result<f64> {
    let all = metrics["metrics"].as_array().into_iter().flatten();
    let mut found = all.filter(|metric| metric["name"] == name);
    let value = found.next().and_then(|metric| metric["value"].as_f64());
    value.with_context(|| format!("the browser reports no {name}"))
}

/// The percentile `of_hundred` of sorted values.
pub fn share(sorted: &[f64], of_hundred: usize) -> f64 {
    let place = (sorted.len() * of_hundred / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}
