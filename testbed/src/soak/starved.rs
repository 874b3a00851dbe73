//! Faults that deprive a server of a resource: the reader of its log, or file descriptors.

use std::fs::OpenOptions;
use std::io::{self, PipeReader, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;

use super::faults::restart_in_order;
use super::{Field, strangers};
use crate::cluster::{Cluster, Limits, eventually};
use crate::hostile::Kind;

/// What the reader of a server's log does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// It stops reading.
    Stops,
    /// It closes the pipe.
    Ends,
}

/// Sends a server's log to a pipe whose reader fails. The server must keep running, count lost
/// lines, and end cleanly.
pub(super) async fn log(field: &mut Field<'_>, id: usize, reader: Reader, time: Duration) {
    let (pipe, writer) = io::pipe().unwrap();
    restart_in_order(field.cluster, id, |command| {
        // Logs a line for each protocol event.
        command.env("GLASSRAFT_LOG", "info,raft=debug").stderr(writer);
    })
    .await;
    field.cluster.apply(&field.base.plan).await;
    let stop = Arc::<AtomicBool>::default();
    let (file, until) = (field.cluster.log(id), Arc::clone(&stop));
    let reading = tokio::task::spawn_blocking(move || read(pipe, file, &until));
    field.watch(time / 2).await;
    stop.store(true, Ordering::Relaxed);
    let pipe = reading.await.unwrap();
    let unread = (reader == Reader::Stops).then_some(pipe);
    field.watch(time).await;
    eventually("the server counts lost log lines", async || {
        (lost_lines(field.cluster, id).await? > 0.0).then_some(())
    })
    .await;
    restart_in_order(field.cluster, id, |_| ()).await;
    field.cluster.apply(&field.base.plan).await;
    drop(unread);
}

/// Appends a pipe to a file until `stop` is set.
fn read(mut pipe: PipeReader, file: PathBuf, stop: &AtomicBool) -> PipeReader {
    let mut file = OpenOptions::new().append(true).open(file).unwrap();
    let mut lines = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        let read = pipe.read(&mut lines).unwrap();
        assert!(read > 0, "the server ended");
        file.write_all(&lines[..read]).unwrap();
    }
    pipe
}

async fn lost_lines(cluster: &Cluster, id: usize) -> Option<f64> {
    let answer = cluster.client(id).request(&Method::GET, "/metrics", Bytes::new()).await.ok()?;
    let text = std::str::from_utf8(&answer.body).unwrap();
    let name = "glassraft_log_dropped_lines_total ";
    text.lines().find_map(|line| line.strip_prefix(name))?.parse().ok()
}

/// Limit of open files: enough to start and for twenty client connections.
const FEW: u64 = 140;

/// Limits a server's open files. It must keep running while more clients connect than fit.
pub(super) async fn files(field: &mut Field<'_>, id: usize, time: Duration) {
    let usual = field.cluster.limits(id);
    field.cluster.limit(id, Limits { files: Some(FEW), ..usual.clone() });
    restart_in_order(field.cluster, id, |_| ()).await;
    field.cluster.apply(&field.base.plan).await;
    strangers::molest(field, Kind::HalfOpen, &[id], time).await;
    assert!(!field.cluster.has_ended(id), "server {id} ended with few file descriptors");
    let open = field.cluster.open_files(id).unwrap_or(0);
    assert!(open <= FEW, "server {id} has {open} open files");
    field.cluster.limit(id, usual);
    restart_in_order(field.cluster, id, |_| ()).await;
    field.cluster.apply(&field.base.plan).await;
}
