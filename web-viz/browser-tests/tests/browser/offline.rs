//! The page without its server.

use anyhow::Result;
use browser_tests::{Looks, Site, with_page};

/// Guards the page without a network: once opened, it opens again without its server, with lessons.
/// Its link shows the same run.
#[tokio::test]
async fn the_page_opens_again_without_its_server() -> Result<()> {
    let mut site = Site::open().await?;
    let url = site.url().to_owned();
    with_page(&format!("{url}/#source=simulate&seed=3&servers=5"), Looks::PLAIN, async |page| {
        page.wait_for_leader(None).await;
        let kept = "caches.open('glassraft-page').then(kept => kept.keys()) \
                    .then(kept => ['.wasm', '.js', '.woff2', '/'] \
                      .every(end => kept.some(file => file.url.endsWith(end))))";
        page.wait("the page to be kept", kept).await;
        site.close().await;
        page.open(&format!("{url}/?again#lesson=4"), Looks::PLAIN).await.expect("it opens again");
        page.click("lesson-next").await;
        page.open(&format!("{url}/?more#source=simulate&seed=3&servers=5"), Looks::PLAIN)
            .await
            .expect("and again");
        page.wait_for_leader(None).await;
        assert_eq!(
            page.ask("document.fonts.check('16px \"Atkinson Hyperlegible Next\"')").await,
            true
        );
    })
    .await
}
