//! Accessibility: the page's findings by axe-core.

use anyhow::Result;
use browser_tests::{Colours, Looks, Page, Screen, Site, axe, with_page};

/// The problems that axe-core rates serious or critical.
async fn findings(page: &Page) -> Vec<String> {
    let found = page
        .ask(
            // Elements that still fade in have too little contrast.
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

/// Guards that axe-core finds nothing serious, in both colour schemes, on a phone, and with dialogs
/// open.
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
