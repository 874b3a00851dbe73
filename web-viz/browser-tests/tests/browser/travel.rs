//! Time travel within a run.

use anyhow::Result;
use browser_tests::{Looks, Page, Site, with_page};

async fn wait_past(page: &Page, past: bool) {
    let condition =
        format!("document.querySelector('[data-testid=scrub]').dataset.past === '{past}'");
    page.wait("the handle to be where it should", &condition).await;
}

/// Guards time travel: the handle goes back, and stepping back and forth shows the same state. An
/// action in the past starts a branch, and the other branch stays reachable.
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
        // Goes one event back and forth.
        page.press("\u{e012}").await; // the left arrow
        wait_past(page, true).await;
        page.press("\u{e014}").await; // the right arrow
        page.press("\u{e010}").await; // End
        wait_past(page, false).await;
        assert_eq!(page.text("clock").await, end);
        // Goes to 1 ms, when no leader is elected yet, and then to the next turning point.
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
        page.click("compare").await;
        page.wait(
            "two branches side by side",
            "document.querySelector('dialog.compare')?.open === true",
        )
        .await;
        let compared = page.text("comparison").await;
        assert!(compared.contains("First difference") && compared.contains("Leader"), "{compared}");
    })
    .await
}

/// Guards that a link opened in a fresh browser shows the same moment of the same run, by its
/// digest. The embedded form shows only stage and transport controls.
#[tokio::test]
async fn a_link_shows_the_same_run_in_a_fresh_browser() -> Result<()> {
    let site = Site::open().await?;
    let (mut link, mut digest, mut clock) = (String::new(), String::new(), String::new());
    with_page(site.url(), Looks::PLAIN, async |page| {
        page.slide("speed", 8).await;
        let leader = page.wait_for_leader(None).await;
        page.click("submit").await;
        page.click("crash-leader").await;
        page.wait_for_leader(Some(&leader)).await;
        page.press("s").await;
        page.wait("the dialog", "document.querySelector('dialog.share')?.open === true").await;
        digest = page.text("digest").await;
        link = page
            .ask("document.querySelector('[data-testid=link]').value")
            .await
            .as_str()
            .unwrap()
            .to_owned();
        clock = page.text("clock").await;
        page.wait("the address", &format!("location.href === {link:?}")).await;
    })
    .await?;
    assert_eq!(digest.len(), 16, "{digest}");
    let embedded = link.replace("/#", "/?embed=1#");
    for address in [&link, &embedded] {
        with_page(address, Looks::PLAIN, async |page| {
            page.wait(
                "the moment",
                &format!(
                    "document.querySelector('[data-testid=clock]').innerText.trim() === {clock:?}"
                ),
            )
            .await;
            page.press("s").await;
            page.wait(
                "the digest",
                &format!(
                    "document.querySelector('[data-testid=digest]')?.innerText === {digest:?}"
                ),
            )
            .await;
            let alone =
                page.ask("document.querySelector('.top').checkVisibility() === false").await;
            assert_eq!(alone, *address == embedded);
            assert_eq!(
                page.ask("document.querySelector('.stage > svg').checkVisibility()").await,
                true
            );
        })
        .await?;
    }
    Ok(())
}

/// Guards files: a saved trace opens as a recording with the same digest, which can be viewed but
/// not changed. Pictures of the stage are saved, and an invalid file is reported.
#[tokio::test]
async fn a_trace_is_saved_and_opened_as_a_recording() -> Result<()> {
    let site = Site::open().await?;
    with_page(site.url(), Looks::PLAIN, async |page| {
        // Captures the saved files for the test.
        page.ask(
            "(window.saved = {}, \
              URL.createObjectURL = blob => (blob.text().then(text => window.blob = text), 'data:,'), \
              HTMLAnchorElement.prototype.click = function () { window.saved[this.download] = this.href }, 0)",
        )
        .await;
        page.slide("speed", 8).await;
        let leader = page.wait_for_leader(None).await;
        page.click("share").await;
        let digest = page.text("digest").await;
        page.click("save-svg").await;
        page.wait("a drawing", "window.blob?.includes('</svg>') && !window.blob.includes('oklch')").await;
        page.click("save-png").await;
        page.wait("a picture", "window.saved['glassraft.png']?.startsWith('data:image/png') && window.saved['glassraft.png'].length > 10000").await;
        page.click("save-trace").await;
        page.wait("a trace", "window.blob?.startsWith('{\"glassraft_trace\":1')").await;
        open(page, "'{\"a\":1}'").await;
        page.wait("a refusal", "document.querySelector('[data-testid=notice]')?.innerText.startsWith('Line 1') === true").await;
        open(page, "window.blob").await;
        page.wait("a recording", "document.querySelector('[data-testid=source-replay]') !== null").await;
        assert!(page.text("notice").await.contains("A recording of"));
        page.press("\u{e010}").await; // End
        assert_eq!(page.wait_for_leader(None).await, leader);
        page.press("s").await;
        assert_eq!(page.text("digest").await, digest);
        page.press("\u{e00c}").await; // Escape
        page.press("x").await;
        page.wait("a reason", "document.querySelector('[data-testid=notice]')?.innerText.includes('recording') === true").await;
    })
    .await
}

/// Chooses a file with this text.
async fn open(page: &Page, text: &str) {
    page.ask(&format!(
        "(input => {{ const files = new DataTransfer(); \
           files.items.add(new File([{text}], 'a.ndjson')); input.files = files.files; \
           input.dispatchEvent(new Event('change', {{ bubbles: true }})); return 0; }}) \
         (document.querySelector('[data-testid=open-trace]'))"
    ))
    .await;
}
