//! Takes the screenshots in docs/screenshots: each source in each colour scheme, on a desktop and
//! on a phone; also an election, a partition and others.
//!
//! Run `cargo run -p browser-tests --bin screenshots [DIRECTORY [NAME]]` with the environment
//! variables that the tests need. NAME limits the run to screenshots whose name contains it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use browser_tests::{Colours, Demo, Looks, Page, Screen, Site, with_page};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/screenshots"),
        PathBuf::from,
    );
    let wanted = arguments.next().unwrap_or_default();
    std::fs::create_dir_all(&directory)?;
    for picture in Picture::all().filter(|picture| picture.name().contains(&wanted)) {
        picture.take(&directory).await?;
    }
    Ok(())
}

/// The situation that a screenshot shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scene {
    Simulate,
    Live,
    Past,
    Election,
    SplitVote,
    Partition,
    LongLog,
    Lesson,
    Violation,
}

#[derive(Clone, Copy)]
struct Picture {
    scene: Scene,
    looks: Looks,
}

impl Picture {
    /// Each scene on a dark desktop, and also in the other common looks.
    fn all() -> impl Iterator<Item = Self> {
        use Colours::{Dark, Light};
        use Screen::{Desktop, Phone, Projector};
        let scenes: [(Scene, &[(Colours, Screen)]); 9] = [
            (
                Scene::Simulate,
                &[(Light, Desktop), (Dark, Phone), (Light, Phone), (Light, Projector)],
            ),
            (Scene::Live, &[(Light, Desktop), (Dark, Phone), (Light, Phone), (Dark, Projector)]),
            (Scene::Past, &[(Light, Desktop), (Dark, Phone)]),
            (Scene::Election, &[]),
            (Scene::SplitVote, &[(Light, Projector)]),
            (Scene::Partition, &[(Light, Desktop), (Dark, Phone)]),
            (Scene::LongLog, &[(Light, Projector)]),
            (Scene::Lesson, &[(Light, Desktop), (Dark, Phone)]),
            (Scene::Violation, &[(Light, Desktop)]),
        ];
        scenes.into_iter().flat_map(|(scene, others)| {
            let looks = std::iter::once((Dark, Desktop)).chain(others.iter().copied());
            looks.map(move |(colours, screen)| Self { scene, looks: Looks { screen, colours } })
        })
    }

    fn name(self) -> String {
        let scene = match self.scene {
            Scene::Simulate => "simulate",
            Scene::Election => "election",
            Scene::SplitVote => "split-vote",
            Scene::Partition => "partition",
            Scene::LongLog => "long-log",
            Scene::Lesson => "lesson",
            Scene::Violation => "violation",
            Scene::Live => "live",
            Scene::Past => "past",
        };
        let colours = match self.looks.colours {
            Colours::Dark => "dark",
            Colours::Light => "light",
        };
        let screen = match self.looks.screen {
            Screen::Desktop => "desktop",
            Screen::Projector => "projector",
            Screen::Phone => "phone",
        };
        format!("{scene}-{colours}-{screen}.png")
    }

    async fn take(self, directory: &Path) -> Result<()> {
        let path = directory.join(self.name());
        if matches!(self.scene, Scene::Live | Scene::Past) {
            let demo = Demo::start().await?;
            self.shoot(&format!("{}/#source=live", demo.url()), &path).await?;
            demo.end().await;
        } else {
            let site = Site::open().await?;
            let servers = if self.scene == Scene::Partition { 5 } else { 3 };
            let url = match self.scene {
                Scene::Lesson => format!("{}/#lesson=8", site.url()),
                Scene::SplitVote => format!("{}/#lesson=2", site.url()),
                Scene::Violation => format!("{}/#lesson=4", site.url()),
                Scene::Simulate
                | Scene::Election
                | Scene::Partition
                | Scene::LongLog
                | Scene::Live
                | Scene::Past => {
                    format!("{}/#source=simulate&seed=1&servers={servers}", site.url())
                }
            };
            self.shoot(&url, &path).await?;
        }
        println!("{}", path.display());
        Ok(())
    }

    async fn shoot(self, url: &str, path: &Path) -> Result<()> {
        with_page(url, self.looks, async |page| {
            match self.scene {
                Scene::Simulate => simulated(page, self.looks).await,
                Scene::Election => election(page).await,
                Scene::SplitVote => split_vote(page).await,
                Scene::Partition => partition(page, self.looks).await,
                Scene::LongLog => long_log(page).await,
                Scene::Lesson => lesson(page).await,
                Scene::Violation => violation(page).await,
                Scene::Live => live(page, self.looks).await,
                Scene::Past => past(page, self.looks).await,
            }
            page.ask("window.scrollTo(0, 0)").await;
            std::fs::write(path, page.picture().await)
                .with_context(|| format!("cannot write {}", path.display()))
                .expect("the directory can be written to");
        })
        .await
    }
}

/// A candidate with its own vote, asking for the other votes.
async fn election(page: &Page) {
    page.slide("speed", 3).await;
    page.wait("a candidate", "document.querySelector('.server.candidate') !== null").await;
    page.slide("speed", 2).await;
    page.wait("an answer on its way", "document.querySelectorAll('.flight.vote.reply').length > 0")
        .await;
    page.press(" ").await;
}

/// The moment before a real cluster's leader was cut off, while the present already has another
/// leader.
async fn past(page: &Page, looks: Looks) {
    let leader = page.wait_for_leader(None).await;
    write(page, looks, "planet", "Saturn").await;
    page.press(leader.trim_start_matches('S')).await;
    page.press("p").await;
    page.wait_for_leader(Some(&leader)).await;
    page.wait("the first write", "document.querySelector('[data-testid=first-write]') !== null")
        .await;
    page.press(" ").await;
    page.wait("some lag", "parseFloat(document.querySelector('[data-testid=lag]').innerText) > 3")
        .await;
    show(page, looks, "log").await;
}

/// Two candidates, each with two votes of four.
async fn split_vote(page: &Page) {
    page.click("phase-run").await;
    let split = "document.querySelectorAll('.server.candidate').length === 2 \
                 && document.querySelector('[data-testid=play]').dataset.playing === 'false'";
    page.wait("two candidates", split).await;
}

/// A leader with one follower, cut off from three servers that have elected another leader.
async fn partition(page: &Page, looks: Looks) {
    page.slide("speed", 7).await;
    let leader = page.wait_for_leader(None).await;
    write(page, looks, "colour", "blue").await;
    show(page, looks, "act").await;
    page.click("split").await;
    show(page, looks, "store").await;
    page.fill("value", "red").await;
    page.click("submit").await;
    page.wait_for_leader(Some(&leader)).await;
    page.fill("value", "green").await;
    page.click("submit").await;
    show(page, looks, "log").await;
    let committed =
        "document.querySelectorAll('[data-words=\"colour = green\"].applied').length === 3";
    page.wait("the majority's write", committed).await;
    page.wait("messages", "document.querySelectorAll('.flight').length > 3").await;
    page.press(" ").await;
}

/// Many entries; a column is chosen.
async fn long_log(page: &Page) {
    page.slide("speed", 9).await;
    page.wait_for_leader(None).await;
    for number in 1..=24 {
        page.fill("key", &format!("key{number}")).await;
        page.fill("value", &(number * 7).to_string()).await;
        page.click("submit").await;
    }
    page.slide("speed", 2).await;
    page.press("c").await;
    page.press("c").await;
    page.wait("entries on their way", "document.querySelectorAll('.flight.append').length > 1")
        .await;
    page.press(" ").await;
    page.ask("[...document.querySelectorAll('.index')].at(-3).click()").await;
}

/// The third step of figure 8, half played.
async fn lesson(page: &Page) {
    page.click("phase-run").await;
    for _ in 0..3 {
        page.click("lesson-next").await;
    }
    page.wait("messages", "document.querySelectorAll('.flight').length > 1").await;
    let half = "document.querySelectorAll('.commands [data-state=done]').length > 6";
    page.wait("half of the step", half).await;
    page.press(" ").await;
}

/// A broken rule, the violation and its proof.
async fn violation(page: &Page) {
    page.click("phase-break").await;
    while page.ask("document.querySelector('[data-testid=lesson-verdict]') === null").await == true
    {
        page.click("lesson-next").await;
    }
    page.click("invariants").await;
    page.wait("the proof", "document.querySelector('[data-testid=proof]') !== null").await;
}

/// A leader, some committed writes, and a write in transit to the followers.
async fn simulated(page: &Page, looks: Looks) {
    page.slide("speed", 8).await;
    let leader = page.wait_for_leader(None).await;
    for (key, value) in [("planet", "Saturn"), ("rings", "7"), ("moons", "146")] {
        write(page, looks, key, value).await;
    }
    if looks.screen == Screen::Desktop {
        page.press(leader.trim_start_matches('S')).await;
    }
    page.slide("speed", 2).await;
    show(page, looks, "store").await;
    page.fill("key", "rings").await;
    page.fill("value", "8").await;
    page.click("submit").await;
    page.wait(
        "entries on their way",
        "document.querySelectorAll('.flight.append').length === 2 \
         && [...document.querySelectorAll('.flight.append .trail')] \
            .every(it => Math.hypot(it.x2.baseVal.value - it.x1.baseVal.value, \
                                    it.y2.baseVal.value - it.y1.baseVal.value) > 12)",
    )
    .await;
    page.press(" ").await;
    show(page, looks, "log").await;
}

/// A completed failover, and a write after it.
async fn live(page: &Page, looks: Looks) {
    let first = page.wait_for_leader(None).await;
    for (key, value) in [("planet", "Saturn"), ("rings", "7")] {
        write(page, looks, key, value).await;
    }
    show(page, looks, "act").await;
    page.click("crash-leader").await;
    page.wait_for_leader(Some(&first)).await;
    page.wait("the time it took", "document.querySelector('[data-testid=failover]') !== null")
        .await;
    write(page, looks, "moons", "146").await;
    show(page, looks, "log").await;
    page.wait("messages", "document.querySelectorAll('.flight').length > 1").await;
}

async fn write(page: &Page, looks: Looks, key: &str, value: &str) {
    show(page, looks, "store").await;
    page.fill("key", key).await;
    page.fill("value", value).await;
    page.click("submit").await;
    let answered = "document.querySelector('[data-testid=answers] li')?.dataset.state === 'done'";
    page.wait("the answer", answered).await;
}

/// Switches to a panel on a phone, which shows one panel at a time.
async fn show(page: &Page, looks: Looks, tab: &str) {
    if looks.screen == Screen::Phone {
        page.click(&format!("tab-{tab}")).await;
    }
}
