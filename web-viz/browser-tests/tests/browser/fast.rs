//! How fast the page is. `cargo xtask bench page` measures it; here the bounds are those that a busy
//! machine keeps too, and that a page that does its work twice does not.

use std::time::Duration;

use anyhow::Result;
use browser_tests::speed::{crowd, frame_times, seek_times, share};
use browser_tests::{Looks, Site, with_page};

/// Guards the stage with 200 messages on their way between seven servers: it goes on being drawn. On a
/// machine of its own it is 60 frames a second.
#[tokio::test]
async fn two_hundred_messages_are_drawn_on_their_way() -> Result<()> {
    let site = Site::open().await?;
    let url = format!("{}/#source=simulate&seed=1&servers=7", site.url());
    with_page(&url, Looks::PLAIN, async |page| {
        crowd(page).await;
        let times = frame_times(page, Duration::from_secs(3)).await.expect("they are many");
        let median = share(&times, 50);
        assert!(median < 100.0, "half of the frames took longer than {median} ms");
    })
    .await
}

/// Guards going about in a long run: any of 100,000 events is near. On a machine of its own it is less
/// than 16 ms.
#[tokio::test]
async fn any_moment_of_a_long_run_is_near() -> Result<()> {
    let site = Site::open().await?;
    let url = format!("{}/#source=simulate&seed=1&servers=5", site.url());
    with_page(&url, Looks::PLAIN, async |page| {
        let times = seek_times(page).await.expect("the page tells");
        let median = share(&times, 50);
        assert!(median < 100.0, "half of the ways took longer than {median} ms");
    })
    .await
}
