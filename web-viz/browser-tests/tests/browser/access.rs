//! The page for people who read by ear, see other colours, or have no mouse: axe-core's judgement.

use anyhow::Result;
use browser_tests::{Colours, Looks, Page, Screen, Site, axe, with_page};

/// What axe-core finds serious or worse, in words; empty is good.
async fn findings(page: &Page) -> Vec<String> {
    let found = page
        .ask(
            // What is still fading in has less contrast than it will have.
            "Promise.allSettled(document.getAnimations() \
             .filter(it => it.effect.getComputedTiming().endTime < 10000).map(it => it.finished)) \
             .then(() => axe.run()).then(result => result.passes.length > 0 && result.violations \
             .filter(rule => ['serious', 'critical'].includes(rule.impact)) \
             .flatMap(rule => rule.nodes.map(node => `${rule.id}: ${node.target} ${node.html}`)))",
        )
        .await;
    let found = found.as_array().expect("axe-core looked at something");
    found.iter().map(ToString::to_string).collect()
}

/// Guards people who use the page otherwise than most, in both sets of colours and on a phone: nothing
/// that axe-core calls serious, whatever is open.
#[tokio::test]
async fn axe_finds_nothing_serious() -> Result<()> {
    let site = Site::open().await?;
    let script = axe()?;
    for (screen, colours) in [
        (Screen::Desktop, Colours::Dark),
        (Screen::Desktop, Colours::Light),
        (Screen::Phone, Colours::Dark),
    ] {
        with_page(site.url(), Looks { screen, colours }, async |page| {
            page.ask(&format!("(() => {{ {script} }})()")).await;
            page.wait_for_leader(None).await;
            page.press(" ").await;
            let mut found = Vec::new();
            for open in ["", "?", "l"] {
                if !open.is_empty() {
                    page.press(open).await;
                    page.wait(open, "document.querySelector('dialog[open]') !== null").await;
                }
                let here = findings(page).await;
                found.extend(here.into_iter().map(|what| format!("after “{open}”: {what}")));
                page.press("\u{e00c}").await;
            }
            assert_eq!(found, Vec::<String>::new(), "{screen:?} in {colours:?}");
        })
        .await?;
    }
    Ok(())
}
