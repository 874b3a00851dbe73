//! Sizes and colours.

use anyhow::Result;
use browser_tests::{Colours, Looks, Page, Screen, Site, with_page};

async fn contrast(page: &Page) -> (f64, f64) {
    let light = |of: &'static str| {
        format!(
            "(() => {{ const canvas = document.createElement('canvas').getContext('2d'); \
             canvas.fillStyle = getComputedStyle(document.body).{of}; canvas.fillRect(0, 0, 1, 1); \
             const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data; return r + g + b; }})()"
        )
    };
    let ink = page.ask(&light("color")).await.as_f64().expect("a sum of colours");
    let ground = page.ask(&light("backgroundColor")).await.as_f64().expect("a sum of colours");
    (ink, ground)
}

/// Guards both colour schemes: the page follows the system, the button changes the scheme, and the
/// choice is saved.
#[tokio::test]
async fn colours_follow_the_system_and_the_person() -> Result<()> {
    let site = Site::open().await?;
    for (colours, other) in [(Colours::Dark, "light"), (Colours::Light, "dark")] {
        with_page(site.url(), Looks { colours, ..Looks::PLAIN }, async |page| {
            let (ink, ground) = contrast(page).await;
            assert_eq!(ink > ground, colours == Colours::Dark, "{ink} on {ground}");
            page.click("theme").await;
            let changed = format!("document.documentElement.dataset.theme === '{other}'");
            page.wait("the other colours", &changed).await;
            let (ink, ground) = contrast(page).await;
            assert_eq!(ink > ground, colours == Colours::Light, "{ink} on {ground}");
            page.ask("location.reload()").await;
            page.wait("the page to start", "document.querySelector('.page') !== null").await;
            page.wait("the choice to be remembered", &changed).await;
        })
        .await?;
    }
    Ok(())
}

/// Guards the page on a phone: nothing overflows sideways on any panel, and a finger can hit every
/// button. Nothing needs hover or a right click.
#[tokio::test]
async fn a_phone_shows_everything_and_is_worked_by_fingers() -> Result<()> {
    let site = Site::open().await?;
    let looks = Looks { screen: Screen::Phone, colours: Colours::Light };
    with_page(site.url(), looks, async |page| {
        for tab in ["act", "log", "store", "events"] {
            page.click(&format!("tab-{tab}")).await;
            let wide = page
                .ask("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                .await;
            assert_eq!(wide, 0, "{tab} is too wide");
            let small = page
                .ask(
                    "[...document.querySelectorAll('button, select, input, [role=button]')] \
                     .filter(it => it.checkVisibility() && it.getBoundingClientRect().width > 0) \
                     .filter(it => { const box = it.getBoundingClientRect(); \
                       return Math.max(box.height, it.closest('.switch') ? 48 : 0) < 44 \
                         || box.width < 24; }) \
                     .map(it => it.dataset.testid ?? it.innerText)",
                )
                .await;
            let small = small.as_array().expect("a list");
            let targets = small.iter().filter(|id| !id.to_string().contains("column-"));
            assert_eq!(targets.count(), 0, "too small for a finger in {tab}: {small:?}");
        }
        let leader = page.wait_for_leader(None).await;
        // If entries were written while the logs were hidden, the logs show the newest first.
        page.slide("speed", 8).await;
        page.click("tab-store").await;
        for _ in 0..6 {
            page.click("submit").await;
        }
        page.wait("answers", "document.querySelectorAll('.answers .done').length === 5").await;
        page.click("tab-log").await;
        let newest = "(() => { \
            const sight = document.querySelector('.columns').getBoundingClientRect(); \
            const boxes = [...document.querySelectorAll('.column')].map(it => it.getBoundingClientRect()); \
            return boxes.length > 0 && boxes.every(it => it.right <= sight.right + 1) \
                && boxes.some(it => it.right > sight.right - 1); \
          })()";
        page.wait("the newest column", newest).await;
        page.click("tab-act").await;
        page.click("crash-leader").await;
        page.wait_for_leader(Some(&leader)).await;
    })
    .await
}
