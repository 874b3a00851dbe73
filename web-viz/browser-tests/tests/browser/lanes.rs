//! The space-time diagram.

use anyhow::Result;
use browser_tests::{Looks, Page, Site, with_page};

async fn count(page: &Page, selector: &str) -> u64 {
    let count = page.ask(&format!("document.querySelectorAll('{selector}').length")).await;
    count.as_u64().unwrap_or_default()
}

/// Guards the diagram: a key opens it, and messages are arrows between lanes. A picked message is
/// described in words, a lane selects its server, and going back removes later messages.
#[tokio::test]
async fn messages_are_arrows_between_lanes() -> Result<()> {
    let site = Site::open().await?;
    with_page(site.url(), Looks::PLAIN, async |page| {
        page.slide("speed", 8).await;
        assert_eq!(count(page, "[data-testid=lanes]").await, 0, "closed at first");
        page.press("d").await;
        page.wait_for_leader(None).await;
        page.wait("a win", "document.querySelector('#lanes .mark.win') !== null").await;
        page.wait(
            "heartbeats",
            "document.querySelector('#lanes .arrow.heartbeat.arrived') !== null",
        )
        .await;
        page.click("play").await;
        page.click("message-before").await;
        page.wait("an arrow in words", "document.querySelector('.arrow.picked') !== null").await;
        assert!(page.text("message-words").await.contains(" sends "));
        page.click("lane-S2").await;
        assert_eq!(page.attribute("server-S2", "aria-pressed").await, "true");
        page.press("\u{e011}").await; // Home
        page.wait("the beginning", "document.querySelector('#lanes .arrow') === null").await;
        assert_eq!(count(page, "#lanes .mark.win").await, 0);
        page.press("\u{e010}").await; // End
        page.wait("the end", "document.querySelector('#lanes .mark.win') !== null").await;
        page.click("lanes-toggle").await;
        page.wait("it to close", "document.querySelector('[data-testid=lanes]') === null").await;
    })
    .await
}
