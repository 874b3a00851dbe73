//! `glassraft recover`.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use api::members::Members;
use clap::Args;
use raft_core::types::NodeId;
use serde_json::json;
use storage::Storage;

use super::connect::Output;
use crate::output::line;
use crate::recover::{Beginning, Survivor};

/// Continue with the state of one server after a permanent loss of the quorum.
///
/// Creates a data directory for a new cluster from the data directory of a stopped server. All
/// entries of its log are kept, even if they may be uncommitted. Entries that only the lost servers
/// had are lost. The new cluster has another name and rejects servers of the old cluster.
#[derive(Args)]
#[command(after_help = "Examples:
  glassraft recover --data data/2 --show       its last term and index: use the highest
  glassraft recover --data data/2 --cluster-id mine2 --members 2=10.0.0.2:8001/10.0.0.2:7001
  glassraft serve --id 2 --cluster-id mine2 --data data/2 \\
    --members 2=10.0.0.2:8001/10.0.0.2:7001
  glassraft member add 4=10.0.0.4:8001/10.0.0.4:7001       more servers, with empty directories

The old directory is kept as data/2.lost-majority. Run the command as the user of the server. With
--peer-tls-cert, the servers need certificates for the new name (`glassraft cert --help`).")]
pub(super) struct RecoverArgs {
    /// The data directory of the surviving server
    #[arg(long, env = "GLASSRAFT_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Only show the contents of the directory
    #[arg(long)]
    show: bool,
    /// The new cluster's name; must differ from the old cluster's name
    #[arg(
        long,
        env = "GLASSRAFT_CLUSTER_ID",
        value_name = "NAME",
        required_unless_present = "show"
    )]
    cluster_id: Option<String>,
    /// The servers of the new cluster, including this server, as ID=PEER/CLIENT. Usually, list only
    /// this server and add others later. For more initial servers, repeat the command with --id and
    /// --into
    #[arg(long, env = "GLASSRAFT_MEMBERS", value_name = "LIST", required_unless_present = "show")]
    members: Option<Members>,
    /// The server's id [default: the surviving server's id]
    #[arg(long, value_name = "N")]
    id: Option<u64>,
    /// Create the new directory here and keep the old directory in its place
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// How to print the result
    #[arg(long, short, value_name = "FORM", default_value = "text")]
    output: Output,
}

pub(super) fn run(arguments: &RecoverArgs) -> anyhow::Result<()> {
    let data = &arguments.data;
    let aside = beside(data, "lost-majority");
    if !data.exists() && aside.as_ref().is_ok_and(|aside| aside.exists()) {
        bail!(
            "an earlier run was interrupted: {} does not exist, but {} does. Rename the latter \
             back to {} and run the command again",
            data.display(),
            aside?.display(),
            data.display()
        );
    }
    let survivor = Survivor::read(data)?;
    let (Some(cluster_id), Some(members), false) =
        (&arguments.cluster_id, &arguments.members, arguments.show)
    else {
        return print(arguments.output, &survivor, json!({}), "");
    };
    crate::config::check_cluster_id(cluster_id)?;
    let in_place = arguments.into.is_none();
    if in_place {
        let aside = beside(data, "lost-majority")?;
        ensure!(
            !aside.exists(),
            "{} already exists: move it to another place first",
            aside.display()
        );
    }
    let made = match &arguments.into {
        Some(into) => into.clone(),
        None => beside(data, "recovered")?,
    };
    if in_place && made.exists() && Storage::is_free_for_restore(&made).is_err() {
        bail!("{} is left over from an earlier run: remove it first", made.display());
    }
    let id = arguments.id.map_or(survivor.identity.node, NodeId);
    let beginning = Beginning {
        data: made.clone(),
        id,
        cluster_id: cluster_id.clone(),
        members: members.clone(),
    };
    let revision = survivor.begin(&beginning)?;
    let place = if in_place { data } else { &made };
    if in_place {
        exchange(data, &made)?;
    }
    let answer = json!({
        "data": place, "id": id, "cluster_id": cluster_id, "new_revision": revision,
    });
    let text = format!(
        "\n{} contains this state for {id} of cluster {cluster_id}. Start the server with \
         --cluster-id {cluster_id} and --members {members}, without --new-cluster",
        place.display()
    );
    print(arguments.output, &survivor, answer, &text)
}

/// Replaces the old directory with the new directory, and keeps the old directory beside it.
fn exchange(data: &Path, made: &Path) -> anyhow::Result<()> {
    let aside = beside(data, "lost-majority")?;
    let renamed = std::fs::rename(data, &aside).and_then(|()| std::fs::rename(made, data));
    renamed.with_context(|| {
        format!(
            "the new directory {} is complete, but it cannot replace {}. If a file system is \
             mounted there, use --into",
            made.display(),
            data.display()
        )
    })?;
    let parent = data.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    File::open(parent)
        .and_then(|parent| parent.sync_all())
        .with_context(|| format!("cannot sync {}", parent.display()))
}

/// The path of a sibling directory: the same name with an ending.
fn beside(data: &Path, ending: &str) -> anyhow::Result<PathBuf> {
    let name = data.file_name().with_context(|| {
        format!("the path {} does not end with a name: use --into", data.display())
    })?;
    let mut name = name.to_owned();
    name.push(".");
    name.push(ending);
    Ok(data.with_file_name(name))
}

fn print(
    output: Output,
    survivor: &Survivor,
    mut answer: serde_json::Value,
    text: &str,
) -> anyhow::Result<()> {
    let Survivor { identity, store, last, known_committed, membership } = survivor;
    let unsure = last.index.0.saturating_sub(known_committed.0);
    answer["survivor"] = json!({
        "id": identity.node, "cluster_id": identity.cluster, "last_term": last.term,
        "last_index": last.index, "known_committed_index": known_committed,
        "revision": store.revision(), "members": membership.members(),
    });
    match output {
        Output::Json => line(&answer.to_string()),
        Output::Text => line(&format!(
            "{} of cluster {} has entries up to index {} of term {}, revision {}. It did not know \
             whether the last {unsure} entries were committed{text}",
            identity.node,
            identity.cluster,
            last.index.0,
            last.term.0,
            store.revision(),
        )),
    }
}
