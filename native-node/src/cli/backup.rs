//! `glassraft backup` and `restore`.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use api::headers::STATE_BYTES_HEADER;
use api::members::Members;
use clap::Args;
use client::ClientError;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use raft_core::types::NodeId;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::connect::ClientArgs;
use super::{exit, progress};
use crate::backup::{self, BackupHead, Restore};

/// The timeout for the next data of a backup.
const SILENCE: Duration = Duration::from_secs(30);

/// Save the whole state to a file while the cluster runs.
///
/// The file contains everything that was committed when the backup began, at one revision. It gets
/// its name when it is complete, checked and durable on disk.
#[derive(Args)]
#[command(after_help = "Examples:
  glassraft backup monday.backup
  glassraft backup \"backup-$(date +%F)\" --output json
  glassraft backup --verify monday.backup         check a file, without a cluster
  glassraft backup last.backup --stale --endpoints 127.0.0.1:7002
                                                    the state of one server, without a quorum")]
pub(super) struct BackupArgs {
    /// The file to save to; an existing file is not overwritten
    file: PathBuf,
    /// Check an existing backup instead: every byte, and that the contents match the header
    #[arg(long)]
    verify: bool,
    /// Save the state of one server, even if it is old; works without a quorum
    #[arg(long, conflicts_with = "verify")]
    stale: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Create a server's data directory from a backup.
///
/// Run it for each initial server of a new cluster, with the same file, cluster name and members.
/// Then start all servers without --new-cluster. Keys, revisions, leases with their remaining time,
/// and sessions are restored; the members come from the list.
#[derive(Args)]
#[command(after_help = "Examples:
  M=1=127.0.0.1:8001/127.0.0.1:7001,2=127.0.0.1:8002/127.0.0.1:7002,3=127.0.0.1:8003/127.0.0.1:7003
  glassraft restore monday.backup --data new/1 --id 1 --cluster-id mine2 --members $M
  glassraft restore monday.backup --data new/2 --id 2 --cluster-id mine2 --members $M
  glassraft restore monday.backup --data new/3 --id 3 --cluster-id mine2 --members $M
  glassraft serve --id 1 --cluster-id mine2 --data new/1 --members $M        and so on

Clients that watch keys must read the keys again after a restore. Revisions continue from the
revision of the backup, so later revisions are used a second time. The servers reject event ids of
the lost changes. They cannot detect bare revisions.")]
pub(super) struct RestoreArgs {
    /// The backup file
    file: PathBuf,
    /// The data directory: empty, or not existing yet
    #[arg(long, env = "GLASSRAFT_DATA", value_name = "DIR")]
    data: PathBuf,
    /// The server's id
    #[arg(long, env = "GLASSRAFT_ID", value_name = "N")]
    id: u64,
    /// The new cluster's name
    #[arg(long, env = "GLASSRAFT_CLUSTER_ID", value_name = "NAME")]
    cluster_id: String,
    /// The initial servers of the new cluster, including this server, as ID=PEER/CLIENT
    #[arg(long, env = "GLASSRAFT_MEMBERS", value_name = "LIST")]
    members: Members,
    /// Allow the cluster name of the backup. Use it only if all servers of that cluster and their
    /// data directories are permanently gone
    #[arg(long)]
    reuse_cluster_id: bool,
    /// How to print the result
    #[arg(long, short, value_name = "FORM", default_value = "text")]
    output: super::connect::Output,
}

pub(super) async fn backup(arguments: BackupArgs) -> anyhow::Result<()> {
    let BackupArgs { file, verify, stale, client } = arguments;
    if verify {
        let head = load(&file)?;
        let path = file.display();
        return client
            .print(&document(&file, &head), |_| format!("{path} is valid: {}", in_words(&head)));
    }
    ensure!(!file.exists(), "{} already exists; choose another name", file.display());
    let consistency = if stale { "stale" } else { "linearizable" };
    let path = format!("/cluster/backup?consistency={consistency}");
    let from = if stale { client.client_of_these(Duration::ZERO) } else { client.client() }?;
    let interrupted = exit::interrupted()?;
    let answer = from.open(&path).await?;
    let unfinished = Unfinished::beside(&file)?;
    let part = unfinished.path.clone();
    let saving = async {
        receive(answer, &part).await?;
        // On another thread, to handle signals meanwhile.
        let checking = tokio::task::spawn_blocking(move || backup::check(&part, &mut |_| {}));
        Ok::<_, anyhow::Error>(checking.await.context("a bug ended the check of the backup")??)
    };
    let head = tokio::select! {
        head = saving => head?,
        signal = interrupted => {
            drop(unfinished);
            return Err(anyhow::Error::new(signal).context("nothing was saved"));
        }
    };
    unfinished.finish(&file)?;
    client.print(&document(&file, &head), |_| format!("{}: {}", file.display(), in_words(&head)))
}

pub(super) fn restore(arguments: RestoreArgs) -> anyhow::Result<()> {
    let RestoreArgs { file, data, id, cluster_id, members, reuse_cluster_id, output } = arguments;
    crate::config::check_cluster_id(&cluster_id)?;
    let id = NodeId(id);
    let restore = Restore {
        file: file.clone(),
        data: data.clone(),
        id,
        cluster_id,
        members,
        reuse_cluster_id,
    };
    let bar = progress::bytes(Restore::length(&file), "reading");
    let restored = restore.run(&mut |bytes| {
        bar.set_position(bytes);
        if bytes >= bar.length().unwrap_or(0).saturating_sub(64) {
            bar.set_message("writing");
        }
    })?;
    bar.finish_and_clear();
    let answer = json!({
        "data": data, "id": id, "cluster_id": restore.cluster_id, "revision": restored.revision,
        "backup": document(&file, &restored.backup),
    });
    let (data, revision) = (data.display(), restored.revision);
    let text = format!(
        "{data} contains {} at revision {revision}, for {id} of cluster {}. Restore the backup for \
         the other initial servers too. Then start all servers without --new-cluster",
        keys(restored.backup.keys),
        restore.cluster_id,
    );
    super::connect::line(&match output {
        super::connect::Output::Json => answer.to_string(),
        super::connect::Output::Text => text,
    })
}

fn load(file: &Path) -> anyhow::Result<BackupHead> {
    let bar = progress::bytes(Restore::length(file), "checking");
    let (head, _) = backup::load(file, &mut |bytes| bar.set_position(bytes))?;
    bar.finish_and_clear();
    Ok(head)
}

/// Writes the response body to a file. Memory is bounded: one frame at a time.
async fn receive(answer: Response<Incoming>, path: &Path) -> anyhow::Result<()> {
    let total = answer.headers().get(STATE_BYTES_HEADER);
    let total = total.and_then(|bytes| bytes.to_str().ok()?.parse().ok()).unwrap_or(0);
    let bar = progress::bytes(total, "saving");
    let wrong = || format!("cannot write {}", path.display());
    let file = File::options().write(true).open(path).with_context(wrong)?;
    let (mut file, mut body) = (BufWriter::with_capacity(1 << 20, file), answer.into_body());
    loop {
        let broken = |why: String| {
            let why =
                format!("the server's answer ended early ({why}); nothing was saved, try again");
            ClientError::Unavailable(why)
        };
        match timeout(SILENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap_or_default();
                file.write_all(&data).with_context(wrong)?;
                bar.inc(data.len() as u64);
            }
            Ok(Some(Err(error))) => return Err(broken(error.to_string()).into()),
            Ok(None) => break,
            Err(_) => return Err(broken("no data arrived in time".to_owned()).into()),
        }
    }
    let file = file.into_inner().map_err(std::io::IntoInnerError::into_error);
    file.and_then(|file| file.sync_all()).with_context(wrong)?;
    bar.finish_and_clear();
    Ok(())
}

/// A file that is not complete yet, under a temporary name; removed on drop.
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    /// Creates the file in the directory of the final file.
    fn beside(file: &Path) -> anyhow::Result<Self> {
        let Some(name) = file.file_name() else { bail!("{} does not name a file", file.display()) };
        let name = format!(".{}.{}.part", name.to_string_lossy(), std::process::id());
        let path = file.with_file_name(name);
        // The backup contains all data of clients.
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        created.with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path })
    }

    /// Renames the file durably to its final name, unless that file exists.
    fn finish(self, file: &Path) -> anyhow::Result<()> {
        ensure!(
            !file.exists(),
            "{} was created in the meantime and is not overwritten",
            file.display()
        );
        std::fs::rename(&self.path, file)
            .with_context(|| format!("cannot rename the backup to {}", file.display()))?;
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .with_context(|| format!("cannot sync {}", directory.display()))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After the rename the file does not exist any more. Otherwise a leftover is harmless.
        drop(std::fs::remove_file(&self.path));
    }
}

fn document(file: &Path, head: &BackupHead) -> Value {
    json!({
        "file": file, "bytes": Restore::length(file), "cluster_id": head.cluster_id,
        "node": head.node, "release": head.release, "made_at_ms": head.made_at_ms,
        "revision": head.revision, "keys": head.keys, "state_bytes": head.state_bytes,
        "digest": format!("{:016x}", head.digest),
    })
}

fn in_words(head: &BackupHead) -> String {
    let made = SystemTime::UNIX_EPOCH + Duration::from_millis(head.made_at_ms);
    format!(
        "{} at revision {} of cluster {}, created by S{} at {}",
        keys(head.keys),
        head.revision,
        head.cluster_id,
        head.node,
        humantime::format_rfc3339_seconds(made),
    )
}

fn keys(number: u64) -> String {
    if number == 1 { "1 key".to_owned() } else { format!("{number} keys") }
}
