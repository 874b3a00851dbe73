//! The use of the page in a class: lessons, faults, members, broken rules.

use std::collections::BTreeSet;

use anyhow::Result;
use browser_tests::{Looks, Page, Site, with_page};
use serde_json::Value;

async fn wait_text(page: &Page, testid: &str, words: &str) {
    let condition = format!(
        "document.querySelector('[data-testid=\"{testid}\"]')?.innerText.includes({words:?}) ?? false"
    );
    page.wait(words, &condition).await;
}

/// Waits until the shown page of a lesson has been played.
async fn wait_until_played(page: &Page) {
    let held = "document.querySelector('[data-testid=play]').dataset.playing === 'false'";
    page.wait("the step to be played", held).await;
}

/// An upper bound for the pages of any lesson.
const PAGES: u32 = 50;

/// Goes through a lesson page by page until an element exists.
async fn go_on_until(page: &Page, testid: &str) {
    for _ in 0..PAGES {
        if page.ask(&format!("document.querySelector('[data-testid={testid}]') !== null")).await
            == true
        {
            return;
        }
        page.click("lesson-next").await;
        wait_until_played(page).await;
    }
    panic!("{PAGES} pages without {testid}");
}

/// Guards a whole lesson, by mouse and by keys: the list, the question, each step, and the answers
/// with the user's choice. In the run without the rule, the named property fails.
#[tokio::test]
async fn a_lesson_is_gone_through_in_both_arms() -> Result<()> {
    let site = Site::open().await?;
    with_page(site.url(), Looks::PLAIN, async |page| {
        page.press("l").await;
        page.click("lesson-8").await;
        page.slide("speed", 12).await;
        page.click("phase-predict").await;
        page.click("choice-3").await;
        page.click("lesson-next").await;
        wait_until_played(page).await;
        page.click("lesson-next").await;
        wait_text(page, "lesson-text", "elect S1").await;
        wait_until_played(page).await;
        page.press("\u{e008}\u{e012}").await; // shift and the left arrow
        wait_text(page, "lesson-text", "Before").await;
        page.click("phase-explain").await;
        assert_eq!(page.attribute("invariants", "data-state").await, "holding");
        go_on_until(page, "verdicts").await;
        wait_text(page, "verdicts", "Your choice").await;
        page.click("lesson-next").await;
        go_on_until(page, "lesson-verdict").await;
        wait_text(page, "lesson-verdict", "Leader Completeness").await;
        assert_eq!(page.attribute("invariants", "data-state").await, "broken");
        page.click("leave-lesson").await;
        page.wait_for_leader(None).await;
    })
    .await
}

/// Guards every lesson and every rule in the shipped page. With its rule, a lesson goes as told and
/// violates nothing. Without its rule, the named property fails. Together the lessons break each of
/// the 22 rules.
#[tokio::test]
async fn every_lesson_goes_as_told_in_both_arms() -> Result<()> {
    let site = Site::open().await?;
    with_page(site.url(), Looks::PLAIN, async |page| {
        page.press("l").await;
        let listed = "[...document.querySelectorAll('dialog.lessons [data-testid^=lesson-]')] \
                      .map(it => it.dataset.testid)";
        page.wait("the list", &format!("{listed}.length === 23")).await;
        let lessons = page.ask(listed).await;
        let mut broken = BTreeSet::new();
        for lesson in lessons.as_array().into_iter().flatten().filter_map(Value::as_str) {
            page.press("l").await;
            page.click(lesson).await;
            let is_wrong = "document.querySelector('.lesson .bad')?.innerText ?? null";
            page.click("phase-explain").await;
            assert_eq!(page.ask(is_wrong).await, Value::Null, "{lesson}");
            assert_eq!(page.attribute("invariants", "data-state").await, "holding", "{lesson}");
            if page.ask("document.querySelector('[data-testid=phase-break]').disabled").await
                == true
            {
                continue;
            }
            page.click("phase-break").await;
            let may_go_on = "!document.querySelector('[data-testid=lesson-next]').disabled";
            let mut pages = 0;
            while page.ask(may_go_on).await == true {
                page.click("lesson-next").await;
                pages += 1;
                assert!(pages < PAGES, "{lesson} does not end");
            }
            assert_eq!(page.ask(is_wrong).await, Value::Null, "{lesson} without its rule");
            wait_text(page, "lesson-verdict", "is violated").await;
            broken.insert(page.text("broken-rule").await);
        }
        assert_eq!(broken.len(), 22, "{broken:?}");
    })
    .await
}

/// Guards broken rules: the switch stays visible, and the clock stops at a violation. The chip
/// names the violation, and its list jumps to it. With the rule restored, nothing is violated.
#[tokio::test]
async fn a_broken_rule_is_found_out() -> Result<()> {
    let site = Site::open().await?;
    let url = format!("{}/#source=simulate&seed=7&servers=4&break=half_is_majority", site.url());
    with_page(&url, Looks::PLAIN, async |page| {
        wait_text(page, "broken-rule", "More than half").await;
        page.slide("speed", 9).await;
        page.wait_for_leader(None).await;
        page.click("play").await;
        page.click("split").await;
        page.click("play").await;
        page.click("op-put").await;
        page.wait("another leader or a violation", "document.querySelector('[data-testid=invariants]').dataset.state === 'broken' || document.querySelectorAll('.server.leader').length === 2").await;
        for server in ["S1", "S2", "S3", "S4"] {
            let choose = format!(
                "(() => {{ const it = document.querySelector('[data-testid=target]'); it.value = '{}'; \
                 it.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()",
                &server[1..]
            );
            page.ask(&choose).await;
            page.click("submit").await;
        }
        page.wait("a violation", "document.querySelector('[data-testid=invariants]').dataset.state === 'broken'")
            .await;
        wait_until_played(page).await;
        let at = page.text("clock").await;
        page.press("\u{e011}").await; // Home
        page.click("invariants").await;
        page.click("go-to-violation").await;
        page.wait("the moment", &format!("document.querySelector('[data-testid=clock]').innerText.trim() === {at:?}"))
            .await;
        page.click("broken-rule").await;
        page.wait("all rules", "document.querySelector('[data-testid=broken-rule]') === null").await;
        assert_eq!(page.attribute("invariants", "data-state").await, "holding");
    })
    .await
}

/// Guards that, in the fault panel, a server joins and becomes leader, and that the page judges
/// what clients saw meanwhile.
#[tokio::test]
async fn members_join_and_lead_and_clients_are_judged() -> Result<()> {
    let site = Site::open().await?;
    with_page(site.url(), Looks::PLAIN, async |page| {
        page.slide("speed", 8).await;
        let leader = page.wait_for_leader(None).await;
        page.click("burst").await;
        wait_text(page, "verdict", "Linearizable").await;
        page.wait(
            "the answers",
            "document.querySelectorAll('[data-testid=answers] .done').length >= 4",
        )
        .await;
        page.click("faults-members").await;
        page.click("add-voter").await;
        wait_text(page, "members", "S1 S2 S3 S4").await;
        page.wait(
            "the change",
            "document.querySelector('[data-testid=newest-request]').dataset.state === 'done'",
        )
        .await;
        page.click("choose-S4").await;
        page.click("transfer").await;
        assert_eq!(page.wait_for_leader(Some(&leader)).await, "S4");
        page.click("faults-network").await;
        page.slide("loss", 50).await;
        wait_text(page, "loss-words", "5 %").await;
        page.click("heal").await;
        wait_text(page, "loss-words", "0 %").await;
        page.click("faults-server").await;
        page.click("disk-stall").await;
        page.press("c").await;
        // A leader whose disk hangs steps down.
        page.wait_for_leader(Some("S4")).await;
        page.click("disk-mend").await;
        page.wait_for_role("S4", "follower").await;
        assert_eq!(page.attribute("invariants", "data-state").await, "holding");
    })
    .await
}
