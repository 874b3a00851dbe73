//! A server that lacks something of its machine: a reader of its log, or file descriptors.

use std::fs::OpenOptions;
use std::io::{self, PipeReader, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;

use super::deeds::restart_in_order;
use super::{Field, strangers};
use crate::cluster::{Cluster, Limits, eventually};
use crate::hostile::Kind;

/// What becomes of whoever reads a server's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// It does not read on.
    Stops,
    /// It closes the pipe.
    Ends,
}

/// A server whose log is a pipe that breaks: it goes on, counts the lines that are lost, and ends in
/// order.
pub(super) async fn log(field: &mut Field<'_>, id: usize, reader: Reader, time: Duration) {
    let (pipe, writer) = io::pipe().unwrap();
    restart_in_order(field.cluster, id, |command| {
        // Each event of the protocol is a line.
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
    eventually("lines that are lost are counted", async || {
        (lost_lines(field.cluster, id).await? > 0.0).then_some(())
    })
    .await;
    restart_in_order(field.cluster, id, |_| ()).await;
    field.cluster.apply(&field.base.plan).await;
    drop(unread);
}

/// Appends a pipe to a file until it is told to stop.
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

/// What a server may have open: enough to start, and for twenty connections of clients.
const FEW: u64 = 140;

/// A server that may have few files open goes on while more connect to it than fit.
pub(super) async fn files(field: &mut Field<'_>, id: usize, time: Duration) {
    let usual = field.cluster.limits(id);
    field.cluster.limit(id, Limits { files: Some(FEW), ..usual.clone() });
    restart_in_order(field.cluster, id, |_| ()).await;
    field.cluster.apply(&field.base.plan).await;
    strangers::molest(field, Kind::HalfOpen, &[id], time).await;
    assert!(!field.cluster.has_ended(id), "server {id} did not bear to have few files");
    let open = field.cluster.open_files(id).unwrap_or(0);
    assert!(open <= FEW, "server {id} has {open} files open");
    field.cluster.limit(id, usual);
    restart_in_order(field.cluster, id, |_| ()).await;
    field.cluster.apply(&field.base.plan).await;
}
