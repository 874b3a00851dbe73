//! Connection attempts from a page to the address for peers.

use anyhow::Result;
use browser_tests::{Demo, Looks, Site, with_browser};

/// Opens a WebSocket as a page does and records the result.
const KNOCK: &str = "(() => {
    window.knocked = null;
    const socket = new WebSocket('URL');
    socket.onopen = () => { window.knocked = 'opened'; };
    socket.onclose = () => { window.knocked ??= 'refused'; };
    return true;
})()";

/// Guards a cluster against pages in a browser on its machine: neither a foreign page nor the
/// demo's own can open a peer connection.
#[tokio::test]
async fn pages_cannot_pass_for_a_server() -> Result<()> {
    let (demo, site) = (Demo::start().await?, Site::open().await?);
    with_browser(Looks::PLAIN, async |page| {
        // The browser logs the refusal to the console.
        page.expect_complaints("WebSocket connection to");
        let mut refused = 0;
        for url in [site.url(), demo.url()] {
            page.go(url).await.expect("the page opens");
            let target = format!("ws://{}/raft", demo.peer(1));
            page.ask(&KNOCK.replace("URL", &target)).await;
            page.wait("an end", "window.knocked !== null").await;
            assert_eq!(page.ask("window.knocked").await, "refused", "a page of {url}");
            // The metric proves that the server refused it, not something in between.
            refused += 1;
            let counted = demo.metric(1, "raft_peer_refused_total{reason=\"origin\"}").await;
            assert_eq!(counted.expect("the server tells"), refused, "a page of {url}");
        }
    })
    .await?;
    demo.end().await;
    Ok(())
}
