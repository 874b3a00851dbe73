//! A cluster of real processes.

use anyhow::Result;
use browser_tests::{Demo, Guarded, Looks, Site, with_page};

const ALL: [&str; 3] = ["S1", "S2", "S3"];

/// Guards the live picture: it shows who leads, a write in all logs, a real `kill -9` of the
/// leader, the next leader, and the dead one's return; all from the page.
#[tokio::test]
async fn the_page_follows_a_real_failover() -> Result<()> {
    let demo = Demo::start().await?;
    let url = format!("{}/#source=live", demo.url());
    with_page(&url, Looks::PLAIN, async |page| {
        let first = page.wait_for_leader(None).await;
        page.wait("all streams", "document.querySelector('[data-testid=badge]').innerText.includes('3 of 3')")
            .await;
        page.fill("key", "fruit").await;
        page.fill("value", "plum").await;
        page.click("submit").await;
        page.wait_for_entry("fruit = plum", &ALL).await;
        page.click("crash-leader").await;
        page.wait_for_role(&first, "none").await;
        let second = page.wait_for_leader(Some(&first)).await;
        page.wait("the time it took", &format!(
            "document.querySelector('[data-testid=failover]')?.innerText.includes('{first} → {second}')"
        ))
        .await;
        page.fill("value", "pear").await;
        page.click("submit").await;
        page.wait("the answer", "document.querySelectorAll('[data-testid=answers] .done').length === 2")
            .await;
        page.click(&format!("revive-{first}")).await;
        page.wait_for_role(&first, "follower").await;
        page.wait_for_entry("fruit = pear", &ALL).await;
    })
    .await?;
    demo.end().await;
    Ok(())
}

/// Guards a cluster that asks for tokens: the page says so, asks for one, says that a wrong one is
/// wrong, and with the right one sees and writes. The token is not in the page's address.
#[tokio::test]
async fn a_cluster_that_asks_for_a_token_gets_one() -> Result<()> {
    let server = Guarded::start().await?;
    let result = with_page(&server.url(), Looks::PLAIN, async |page| {
        page.wait(
            "the question for a token",
            "document.querySelector('[data-testid=token]') !== null",
        )
        .await;
        page.fill("token", "wrong").await;
        page.click("connect").await;
        page.wait("the answer", "document.body.innerText.includes('the token is not known')").await;
        page.fill("token", server.token()).await;
        page.click("connect").await;
        page.wait_for_leader(None).await;
        page.fill("key", "fruit").await;
        page.fill("value", "plum").await;
        page.click("submit").await;
        page.wait_for_entry("fruit = plum", &["S1"]).await;
        let address = page.ask("location.href").await;
        assert!(!address.to_string().contains(server.token()), "{address}");
    })
    .await;
    // The browser itself writes to the console that it was refused, and nothing else may.
    if let Err(error) = result {
        let words = error.to_string();
        let refused = |line: &str| line.contains("Failed to load resource");
        assert!(words.lines().skip(1).all(refused), "{words}");
    }
    Ok(())
}

/// Guards against a wrong address: it is named, and the way back works.
#[tokio::test]
async fn an_address_where_nobody_answers_is_named() -> Result<()> {
    let site = Site::open().await?;
    let looks = Looks::PLAIN;
    let result = with_page(site.url(), looks, async |page| {
        page.click("source-live").await;
        page.fill("cluster", "127.0.0.1:1").await;
        page.click("connect").await;
        page.wait("the trouble to be named", "document.body.innerText.includes('127.0.0.1:1')")
            .await;
        page.click("source-simulate").await;
        page.wait_for_leader(None).await;
    })
    .await;
    // The browser itself writes to the console that nobody answered, and nothing else may.
    if let Err(error) = result {
        let words = error.to_string();
        let lines: Vec<&str> = words.lines().skip(1).collect();
        let refused = |line: &&str| line.contains("Failed to load resource");
        assert!(lines.iter().all(refused), "{words}");
    }
    Ok(())
}
