//! Serves the built page.

use anyhow::{Context as _, Result};
use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower_http::services::ServeDir;

use crate::given;

/// An HTTP server of the built page. Dropping it stops the server.
#[derive(Debug)]
pub struct Site {
    url: String,
    serving: JoinHandle<()>,
    /// Dropping it shuts the server down gracefully.
    stop: Option<oneshot::Sender<()>>,
}

impl Site {
    /// Serves the directory `GLASSRAFT_DIST` on a free local port.
    pub async fn open() -> Result<Self> {
        let dist = given("GLASSRAFT_DIST", "the directory of the built page")?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback_service(ServeDir::new(dist));
        let (stop, stopped) = oneshot::channel();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
            let _ = stopped.await;
        });
        let serving = tokio::spawn(async move {
            // It ends with the test.
            let _ = serving.await;
        });
        Ok(Self { url, serving, stop: Some(stop) })
    }

    /// Closes the site and every connection to it.
    pub async fn close(&mut self) {
        drop(self.stop.take());
        let _ = (&mut self.serving).await;
    }

    /// The URL of the page.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
