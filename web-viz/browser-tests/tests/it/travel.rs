//! Going about in a run.

use anyhow::Result;
use browser_tests::{Looks, Page, Site, with_page};

async fn wait_past(page: &Page, past: bool) {
    let condition =
        format!("document.querySelector('[data-testid=scrub]').dataset.past === '{past}'");
    page.wait("the handle to be where it should", &condition).await;
}

/// Guards time travel by hand: the handle goes back, stepping back and forth shows the same again,
/// acting there begins a branch, and the other one can be gone back to.
#[tokio::test]
async fn one_goes_back_acts_there_and_keeps_both_futures() -> Result<()> {
    let site = Site::open().await?;
    with_page(site.url(), Looks::PLAIN, async |page| {
        page.slide("speed", 8).await;
        let leader = page.wait_for_leader(None).await;
        page.click("crash-leader").await;
        page.wait_for_leader(Some(&leader)).await;
        page.click("play").await;
        let end = page.text("clock").await;
        // One event back and forth again.
        page.press("\u{e012}").await; // the left arrow
        wait_past(page, true).await;
        page.press("\u{e014}").await; // the right arrow
        page.press("\u{e010}").await; // End
        wait_past(page, false).await;
        assert_eq!(page.text("clock").await, end);
        // To the crash, the turn before the new leader and its candidacies, and to before it.
        page.slide("seek", 1000).await;
        wait_past(page, true).await;
        assert_eq!(page.text("leader").await, "none");
        page.click("next").await;
        page.click("server-S1").await;
        page.click("server-S1").await;
        page.press("1").await;
        page.press("f").await;
        page.wait("a branch", "document.querySelectorAll('.lane').length === 2").await;
        page.press("\u{e010}").await;
        page.press("b").await;
        page.wait(
            "the first branch",
            "document.querySelector('[data-testid=branch-A]').ariaPressed === 'true'",
        )
        .await;
        page.press("\u{e010}").await;
        assert_eq!(page.text("clock").await, end);
        page.press("z").await;
        page.wait("no crash", "document.querySelector('[data-testid^=revive-]') === null").await;
        page.wait("a third branch", "document.querySelectorAll('.lane').length === 3").await;
    })
    .await
}
