//! A cluster of real processes.

use std::time::Duration;

use anyhow::Result;
use browser_tests::speed::Work;
use browser_tests::{Demo, Guarded, Looks, Page, Site, with_page};

const ALL: [&str; 3] = ["S1", "S2", "S3"];

/// Guards that the page shows and controls a live cluster: the leader, a write in all logs, and a
/// real `kill -9` of the leader. The next leader and the restarted server appear, too.
#[tokio::test]
async fn the_page_follows_a_real_failover() -> Result<()> {
    let demo = Demo::start().await?;
    let url = format!("{}/#source=live", demo.url());
    with_page(&url, Looks::PLAIN, async |page| {
        let first = page.wait_for_leader(None).await;
        page.wait("all streams", "document.querySelector('[data-testid=badge]').innerText.includes('3 of 3')")
            .await;
        put(page, "fruit", "plum").await;
        page.wait_for_entry("fruit = plum", &ALL).await;
        page.click("crash-leader").await;
        page.wait_for_role(&first, "none").await;
        let second = page.wait_for_leader(Some(&first)).await;
        page.wait("the time it took", &format!(
            "document.querySelector('[data-testid=failover]')?.innerText.includes('{first} → {second}')"
        ))
        .await;
        put(page, "fruit", "pear").await;
        page.click(&format!("revive-{first}")).await;
        page.wait_for_role(&first, "follower").await;
        page.wait_for_entry("fruit = pear", &ALL).await;
    })
    .await?;
    demo.end().await;
    Ok(())
}

/// Guards that the page asks for a token if the cluster requires it, and reports a wrong token.
/// With the right token it reads and writes. The token is not in the page's address.
#[tokio::test]
async fn a_cluster_that_asks_for_a_token_gets_one() -> Result<()> {
    let server = Guarded::start().await?;
    with_page(&server.url(), Looks::PLAIN, async |page| {
        // The browser itself logs the refusal to the console.
        page.expect_complaints("Failed to load resource");
        page.wait(
            "the question for a token",
            "document.querySelector('[data-testid=token]') !== null",
        )
        .await;
        page.fill("token", "wrong").await;
        page.click("connect").await;
        page.wait("the answer", "document.body.innerText.includes('the token is unknown')").await;
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
    .await
}

/// Guards that the page names an address that does not answer, and that the way back works.
#[tokio::test]
async fn an_address_where_nobody_answers_is_named() -> Result<()> {
    let site = Site::open().await?;
    with_page(site.url(), Looks::PLAIN, async |page| {
        // The browser itself logs the failed request to the console.
        page.expect_complaints("Failed to load resource");
        page.click("source-live").await;
        page.fill("cluster", "127.0.0.1:1").await;
        page.click("connect").await;
        page.wait("the trouble to be named", "document.body.innerText.includes('127.0.0.1:1')")
            .await;
        page.click("source-simulate").await;
        page.wait_for_leader(None).await;
    })
    .await
}

/// Permits the errors that the browser logs if servers do not answer.
fn expect_silence(page: &Page) {
    page.expect_complaints("Failed to load resource");
    page.expect_complaints("WebSocket connection to");
}

async fn in_sight(page: &Page, servers: usize) {
    let words = format!("{servers} of 3");
    let badge = "document.querySelector('[data-testid=badge]').innerText";
    page.wait(&words, &format!("{badge}.includes('{words}')")).await;
}

/// Writes like a person, who retries after a failure.
async fn put(page: &Page, key: &str, value: &str) {
    page.fill("key", key).await;
    page.fill("value", value).await;
    for _ in 0..20 {
        page.wait_for_leader(None).await;
        page.click("submit").await;
        let waiting = "document.querySelector('[data-testid=answers] .waiting')";
        page.wait("the answer", &format!("{waiting} === null")).await;
        let newest =
            page.ask("document.querySelector('[data-testid=answers] .done')?.innerText").await;
        if newest.as_str().is_some_and(|it| it.contains(&format!("{key} = {value}"))) {
            return;
        }
    }
    panic!("no try to set {key} to {value} comes through");
}

/// Guards that the past of a real cluster can be paused, stepped through and scrubbed while the
/// cluster runs on. Actions apply to the present, and one key returns to it.
#[tokio::test]
async fn the_past_of_a_real_cluster_can_be_gone_about_in() -> Result<()> {
    let demo = Demo::start().await?;
    let url = format!("{}/#source=live", demo.url());
    with_page(&url, Looks::PLAIN, async |page| {
        page.wait_for_leader(None).await;
        in_sight(page, 3).await;
        put(page, "fruit", "plum").await;
        page.wait_for_entry("fruit = plum", &ALL).await;
        page.click("play").await;
        let past = "document.querySelector('[data-testid=scrub]').dataset.past";
        page.wait("the past", &format!("{past} === 'true'")).await;
        put(page, "fruit", "pear").await;
        let notice = page.text("notice").await;
        assert!(notice.contains("as it is now"), "{notice}");
        let lag = "parseFloat(document.querySelector('[data-testid=lag]').innerText)";
        page.wait("the lag to grow", &format!("{lag} > 1.5")).await;
        let pears =
            page.ask("document.querySelectorAll('[data-words=\"fruit = pear\"]').length").await;
        assert_eq!(pears, 0, "it lies ahead");
        let clock = page.text("clock").await;
        page.click("back").await;
        page.wait(
            "an earlier moment",
            &format!("document.querySelector('[data-testid=clock]').innerText.trim() < '{clock}'"),
        )
        .await;
        page.click("step").await;
        page.press(",").await;
        page.press("d").await;
        page.click("to-end").await;
        page.wait("the present", &format!("{past} === 'false'")).await;
        page.wait_for_entry("fruit = pear", &ALL).await;
        page.wait("the lag to be short", &format!("{lag} < 1.5")).await;
        page.press("\u{e011}").await;
        page.wait("the beginning", &format!("{past} === 'true'")).await;
        page.press("\u{e010}").await;
        page.wait("the present again", &format!("{past} === 'false'")).await;
    })
    .await?;
    demo.end().await;
    Ok(())
}

/// Guards that the page can inject faults into real links and disks: they are drawn, the recovery
/// is measured, and mending ends them.
#[tokio::test]
async fn real_links_are_cut_and_real_disks_hang() -> Result<()> {
    let demo = Demo::start().await?;
    let url = format!("{}/#source=live", demo.url());
    with_page(&url, Looks::PLAIN, async |page| {
        let first = page.wait_for_leader(None).await;
        in_sight(page, 3).await;
        page.click(&format!("choose-{first}")).await;
        page.click("isolate").await;
        page.wait(
            "two links to be cut",
            "document.querySelectorAll('[data-state=cut]').length === 2",
        )
        .await;
        let second = page.wait_for_leader(Some(&first)).await;
        page.wait(
            "the time to the first write",
            "document.querySelector('[data-testid=first-write]') !== null",
        )
        .await;
        page.click("heal").await;
        page.wait("mended links", "document.querySelectorAll('[data-state=cut]').length === 0")
            .await;
        page.wait_for_role(&first, "follower").await;
        page.click(&format!("choose-{second}")).await;
        page.click("disk-stall").await;
        let words = format!("document.querySelector('[data-testid=server-{second}]').outerHTML");
        page.wait("the disk to hang", &format!("{words}.includes('disk stalled')")).await;
        page.wait_for_leader(Some(&second)).await;
        page.click("disk-mend").await;
        page.wait("the disk to work", &format!("!{words}.includes('disk stalled')")).await;
        // A cut of a single direction.
        page.click(&format!("cut-{second}-{first}")).await;
        page.wait(
            "one way to be cut",
            "document.querySelectorAll('[data-state=one-way]').length === 1",
        )
        .await;
        page.click(&format!("cut-{second}-{first}")).await;
        let pressed =
            format!("document.querySelector('[data-testid=cut-{second}-{first}]').ariaPressed");
        page.wait("it to be mended", &format!("{pressed} === 'false'")).await;
        page.click("split").await;
        page.wait("a split", "document.querySelectorAll('[data-state=cut]').length === 2").await;
    })
    .await?;
    demo.end().await;
    Ok(())
}

/// Guards that the page recovers its connection: it reports when all servers are killed, and goes
/// on once they are back. The same holds when the whole demo ends and starts again.
#[tokio::test]
async fn the_connection_is_lost_and_recovers() -> Result<()> {
    let demo = Demo::start().await?;
    let url = format!("{}/#source=live", demo.url());
    with_page(&url, Looks::PLAIN, async |page| {
        expect_silence(page);
        page.wait_for_leader(None).await;
        in_sight(page, 3).await;
        for server in ALL {
            page.click(&format!("choose-{server}")).await;
            page.click("crash").await;
            page.wait_for_role(server, "none").await;
        }
        in_sight(page, 0).await;
        for server in ALL {
            let button = format!("revive-{server}");
            page.click(&button).await;
            // The buttons after it move when it goes.
            let gone = format!("document.querySelector('[data-testid={button}]') === null");
            page.wait("the server to be started", &gone).await;
        }
        in_sight(page, 3).await;
        page.wait_for_leader(None).await;
        put(page, "fruit", "plum").await;
        page.wait_for_entry("fruit = plum", &ALL).await;

        let ended = demo.end().await;
        in_sight(page, 0).await;
        let again = ended.start().await.expect("the demo starts again");
        in_sight(page, 3).await;
        page.wait_for_leader(None).await;
        put(page, "fruit", "pear").await;
        page.wait_for_entry("fruit = pear", &ALL).await;
        // The earlier events can still be viewed.
        page.press("\u{e011}").await;
        page.wait(
            "the past",
            "document.querySelector('[data-testid=scrub]').dataset.past === 'true'",
        )
        .await;
        page.press("\u{e010}").await;
        page.wait_for_entry("fruit = pear", &ALL).await;
        again.end().await;
    })
    .await
}

/// Guards that the page keeps drawing while its cluster is under full load and reports omitted
/// events. After the load it reaches the cluster's exact state, and its past can be viewed.
#[tokio::test]
async fn flood() -> Result<()> {
    let demo = Demo::start().await?;
    let url = format!("{}/#source=live", demo.url());
    with_page(&url, Looks::PLAIN, async |page| {
        page.wait_for_leader(None).await;
        in_sight(page, 3).await;
        let count = "(() => { window.frames_ = { drawn: 0, longest: 0, last: performance.now() }; \
            const draw = now => { const it = window.frames_; it.drawn += 1; \
              it.longest = Math.max(it.longest, now - it.last); it.last = now; \
              requestAnimationFrame(draw); }; requestAnimationFrame(draw); return true; })()";
        page.ask(count).await;
        // The writes of some seconds; a busy machine takes longer.
        let (work, mut writes, mut rate) = (Work::of(page).await.expect("the browser reports it"), 0.0, 0.0);
        while writes < 2_000.0 {
            let part = Duration::from_secs(8);
            rate = demo.load(part, None).await.expect("there is a load");
            assert!(rate > 0.0, "no write comes through");
            writes += rate * part.as_secs_f64();
        }
        let work = work.millis(page).await.expect("the browser reports it");
        let drawn = page.ask("window.frames_.drawn").await.as_f64().unwrap_or_default();
        let longest = page.ask("Math.round(window.frames_.longest)").await;
        let lag = page.text("lag").await;
        let out = page.text("left-out").await;
        println!(
            "{rate:.0} writes/s; {:.1} ms of work a frame, the longest took {longest} ms; {lag}; {out}",
            work / drawn
        );
        assert!(drawn > 0.0 && work / drawn < 100.0, "{drawn} frames in {work} ms of work");
        // Servers report a few thousand events per second; a slow machine may not produce more.
        if rate > 1_000.0 {
            let told = "/\\d left out/.test(document.querySelector('[data-testid=left-out]')?.innerText)";
            page.wait("what was left out", told).await;
        }

        // The commit index as the cluster reports it.
        let ask = format!(
            "fetch('http://{}/cluster/status').then(it => it.json()).then(it => {{ window.status_ = it }})",
            demo.server(1)
        );
        page.ask(&format!("(() => {{ {ask}; return true; }})()")).await;
        page.wait("the cluster's state", "window.status_?.commit_index > 0").await;
        let committed = page.ask("window.status_.commit_index").await;
        let at = |server: &str| {
            format!(
                "Number(/committed up to (\\d+)/.exec( \
                 document.querySelector('[data-testid=server-{server}]')?.outerHTML)?.[1])"
            )
        };
        for server in ALL {
            let caught_up = format!("{} >= {committed}", at(server));
            page.wait(&format!("{server} at {committed}"), &caught_up).await;
        }
        page.wait("a short lag", "parseFloat(document.querySelector('[data-testid=lag]').innerText) < 2")
            .await;

        page.click("play").await;
        page.press("\u{e011}").await;
        let earlier = format!("!({} >= {committed})", at("S1"));
        page.wait("an older state", &earlier).await;
        page.click("step").await;
        // Seeks all over the kept events. This measures the seek and the new document without
        // painting.
        let seeks = "(() => { const slider = document.querySelector('[data-testid=seek]'); \
            const [min, max] = [Number(slider.min), Number(slider.max)]; const took = []; \
            const seek = async left => { \
              if (left === 0) { window.seeks_ = took.map(Math.round); return; } \
              slider.value = String(min + (max - min) * left / 12); \
              const start = performance.now(); \
              slider.dispatchEvent(new Event('input', { bubbles: true })); \
              for (let turn = 0; turn < 3; turn += 1) await null; \
              took.push(performance.now() - start); \
              setTimeout(() => seek(left - 1), 50); \
            }; seek(8); return true; })()";
        let work = Work::of(page).await.expect("the browser reports it");
        page.ask(seeks).await;
        page.wait("all seeks", "window.seeks_ !== undefined").await;
        let took = page.ask("window.seeks_").await;
        println!("seeks took {took} ms");
        let each = work.millis(page).await.expect("the browser reports it") / 8.0;
        assert!(each < 250.0, "a seek takes {each} ms of work: {took}");
        page.press("\u{e010}").await;
        page.wait("the present", &format!("{} >= {committed}", at("S1"))).await;
    })
    .await?;
    demo.end().await;
    Ok(())
}
