//! The explanation of an event.

use anyhow::Result;
use browser_tests::{Looks, Site, with_page};

/// Guards that a chosen event is traced back, over the other servers' votes, to the timer that
/// expired. Each step shows its rule, the section and the place in the core, and can be followed.
#[tokio::test]
async fn an_event_is_traced_back_to_what_began_it() -> Result<()> {
    let site = Site::open().await?;
    with_page(site.url(), Looks::PLAIN, async |page| {
        page.wait_for_leader(None).await;
        page.click("play").await;
        page.click("side-events").await;
        page.fill("search", "Becomes Leader").await;
        page.wait(
            "what is sought alone",
            "document.querySelectorAll('[data-testid=events] .line').length === 1",
        )
        .await;
        page.ask(
            "[...document.querySelectorAll('[data-testid=events] .line')]\
             .find(line => line.innerText.includes('becomes leader')).click()",
        )
        .await;
        let says = |words: &str| {
            format!("document.querySelector('[data-testid=why]')?.innerText.includes('{words}')")
        };
        for words in
            ["a majority voted for it", "because", "§5.2", "core/src/rules.rs:", "external"]
        {
            page.wait(words, &says(words)).await;
        }
        page.ask("document.querySelector('[data-testid=why] .step:not(:disabled)').click()").await;
        page.wait("the step before", "document.querySelector('[data-testid=why] .step .what')?.innerText.startsWith('receives RequestVoteReply')").await;
        page.press("\u{E00C}").await;
        page.wait("it is closed", "document.querySelector('[data-testid=why]') === null").await;
    })
    .await
}
