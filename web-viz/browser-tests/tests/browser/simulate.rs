//! The simulated cluster.

use anyhow::Result;
use browser_tests::{Looks, Site, with_page};

const ALL: [&str; 3] = ["S1", "S2", "S3"];

/// Guards the first minute: the page opens and plays, a leader is elected, and the big button
/// crashes it. Another server takes over, and the crashed server returns as a follower.
#[tokio::test]
async fn the_cluster_elects_and_survives_a_crash_of_its_leader() -> Result<()> {
    let site = Site::open().await?;
    with_page(site.url(), Looks::PLAIN, async |page| {
        assert_eq!(page.attribute("play", "data-playing").await, "true");
        let first = page.wait_for_leader(None).await;
        page.wait_for_role(&first, "leader").await;
        page.click("crash-leader").await;
        page.wait_for_role(&first, "none").await;
        let second = page.wait_for_leader(Some(&first)).await;
        page.wait(
            "the failover",
            &format!(
                "document.querySelector('[data-testid=failover]')?.innerText \
                 .includes('{first} → {second}')"
            ),
        )
        .await;
        page.click(&format!("revive-{first}")).await;
        page.wait_for_role(&first, "follower").await;
        assert_eq!(page.attribute("invariants", "data-state").await, "holding");
    })
    .await
}

/// Guards that a write appears in the leader's row, in every row, in the reply, and in the store.
#[tokio::test]
async fn a_write_is_seen_in_the_matrix_of_all_servers() -> Result<()> {
    let site = Site::open().await?;
    with_page(site.url(), Looks::PLAIN, async |page| {
        page.wait_for_leader(None).await;
        page.fill("key", "fruit").await;
        page.fill("value", "plum").await;
        page.click("submit").await;
        page.wait_for_entry("fruit = plum", &ALL).await;
        page.wait("the answer", "document.querySelector('[data-testid=answers] .done') !== null")
            .await;
        let store = page.text("store").await;
        assert!(store.contains("fruit") && store.contains("plum"), "{store}");
    })
    .await
}

/// Guards that keys do what the buttons do: pause, step, choose, crash, restart, cut off, mend,
/// write, help.
#[tokio::test]
async fn keys_do_what_buttons_do() -> Result<()> {
    let site = Site::open().await?;
    with_page(site.url(), Looks::PLAIN, async |page| {
        let leader = page.wait_for_leader(None).await;
        page.press(" ").await;
        page.wait(
            "a pause",
            "document.querySelector('[data-testid=play]').dataset.playing === 'false'",
        )
        .await;
        let clock = page.text("clock").await;
        // The right arrow is pressed several times, because several events may share a millisecond.
        page.press("\u{e014}\u{e014}\u{e014}\u{e014}\u{e014}").await;
        page.wait(
            "a step",
            &format!(
                "document.querySelector('[data-testid=clock]').innerText.trim() !== {clock:?}"
            ),
        )
        .await;
        page.press(" ").await;
        let number = leader.trim_start_matches('S');
        page.press(number).await;
        page.wait(
            "the server to be chosen",
            &format!(
                "document.querySelector('[data-testid=server-{leader}]').ariaPressed === 'true'"
            ),
        )
        .await;
        page.press("p").await;
        page.wait("cut links", "document.querySelectorAll('[data-state=cut]').length === 2").await;
        let other = page.wait_for_leader(Some(&leader)).await;
        page.press("p").await;
        page.wait("mended links", "document.querySelectorAll('[data-state=cut]').length === 0")
            .await;
        page.wait_for_role(&leader, "follower").await;
        page.press("x").await;
        page.wait_for_role(&leader, "none").await;
        page.press("x").await;
        page.wait_for_role(&leader, "follower").await;
        page.press("c").await;
        page.wait_for_entry("x = 1", &ALL).await;
        page.press("?").await;
        page.wait("the help", "document.querySelector('dialog.help').open").await;
        assert_ne!(leader, other);
    })
    .await
}

/// Guards that an address with a seed shows that run, and that the same seed gives the same run.
#[tokio::test]
async fn an_address_names_a_run() -> Result<()> {
    let site = Site::open().await?;
    let url = format!("{}/#source=simulate&seed=4711&servers=5", site.url());
    let mut leaders = Vec::new();
    for _ in 0..2 {
        with_page(&url, Looks::PLAIN, async |page| {
            assert_eq!(page.text("servers").await, "5");
            assert!(page.text("badge").await.contains("4711"));
            page.slide("speed", 9).await;
            leaders.push(page.wait_for_leader(None).await);
        })
        .await?;
    }
    assert_eq!(leaders[0], leaders[1]);
    let wrong = format!("{}/#seed=plum", site.url());
    with_page(&wrong, Looks::PLAIN, async |page| {
        assert!(page.text("notice").await.contains("“plum”"));
        page.wait_for_leader(None).await;
    })
    .await
}

/// Guards that a paused page requests no frames and so costs nothing.
#[tokio::test]
async fn a_paused_page_draws_nothing() -> Result<()> {
    let site = Site::open().await?;
    with_page(site.url(), Looks::PLAIN, async |page| {
        page.ask(
            "(window.frames_asked = 0, window.real_raf = window.requestAnimationFrame, \
             window.requestAnimationFrame = f => (window.frames_asked++, window.real_raf(f)), 0)",
        )
        .await;
        page.wait("frames", "window.frames_asked > 5").await;
        page.click("play").await;
        page.wait(
            "a pause",
            "document.querySelector('[data-testid=play]').dataset.playing === 'false'",
        )
        .await;
        page.ask("(window.frames_asked = 0)").await;
        // This waits for a fixed time, because the check is that nothing happens.
        page.ask("new Promise(done => setTimeout(done, 500))").await;
        assert_eq!(page.ask("window.frames_asked").await, 0);
    })
    .await
}
