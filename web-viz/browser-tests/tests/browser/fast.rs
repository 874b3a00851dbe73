//! The speed of the page. `cargo xtask bench page` measures wall-clock time. These tests measure
//! CPU time, which a busy machine lengthens far less. The bounds are twice what a starved machine
//! needs.

use std::time::Duration;

use anyhow::Result;
use browser_tests::speed::{Work, crowd, frame_times, make_long, seek_times};
use browser_tests::{Looks, Site, with_page};

/// The maximum CPU time of a frame without painting, in ms.
const FRAME: f64 = 25.0;

/// The maximum CPU time of a seek, in ms.
const PLACE: f64 = 50.0;

/// Guards that the stage with 200 messages in transit between seven servers keeps drawing. On an
/// idle machine it reaches 60 frames per second.
#[tokio::test]
async fn two_hundred_messages_are_drawn_on_their_way() -> Result<()> {
    let site = Site::open().await?;
    let url = format!("{}/#source=simulate&seed=1&servers=7", site.url());
    with_page(&url, Looks::PLAIN, async |page| {
        crowd(page).await;
        let work = Work::of(page).await.expect("the browser reports it");
        let frames = frame_times(page, Duration::from_secs(3)).await.expect("they are many").len();
        let each = work.millis(page).await.expect("the browser reports it")
            / f64::from(u32::try_from(frames).expect("few"));
        println!("{each:.1} ms of work a frame, {frames} frames");
        assert!(each < FRAME, "a frame takes {each} ms of work");
    })
    .await
}

/// Guards that seeking to any of 100,000 events is fast. On an idle machine a seek takes less than
/// 16 ms.
#[tokio::test]
async fn any_moment_of_a_long_run_is_near() -> Result<()> {
    let site = Site::open().await?;
    let url = format!("{}/#source=simulate&seed=1&servers=5", site.url());
    with_page(&url, Looks::PLAIN, async |page| {
        make_long(page).await;
        let work = Work::of(page).await.expect("the browser reports it");
        let places = seek_times(page).await.expect("the page tells").len();
        let each = work.millis(page).await.expect("the browser reports it")
            / f64::from(u32::try_from(places).expect("few"));
        println!("{each:.1} ms of work a place, {places} places");
        assert!(each < PLACE, "going to a place takes {each} ms of work");
    })
    .await
}
