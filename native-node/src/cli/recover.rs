//! `native-node recover`.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;
use raft_core::types::NodeId;
use serde_json::json;

use super::connect::Output;
use super::output::line;
use crate::config::Members;
use crate::recover::{Beginning, Survivor};
use crate::storage::Storage;

/// Go on with what one server has, when the majority is lost for good.
///
/// Reads the data directory of a server that does not run, and makes of its state the directory of
/// a server of a new cluster. Everything in its log is kept, also what it did not know to be
/// committed. What only the lost servers had is lost. The new cluster has another name, so servers
/// of the old one are refused if they come back.
#[derive(Args)]
#[command(after_help = "Examples:
  native-node recover --data data/2 --show       what it has: take the survivor with the greatest
  native-node recover --data data/2 --cluster-id mine2 --members 2=10.0.0.2:8001/10.0.0.2:7001
  native-node serve --id 2 --cluster-id mine2 --data data/2 \\
    --members 2=10.0.0.2:8001/10.0.0.2:7001
  native-node member add 4=10.0.0.4:8001/10.0.0.4:7001       and so on, with empty directories

The old directory is kept, as data/2.lost-majority. Run it as the user that the server runs as. With
--peer-tls-cert, the servers need certificates for the new name (`native-node cert --help`).")]
pub(super) struct RecoverArgs {
    /// The data directory of the survivor
    #[arg(long, env = "GLASSRAFT_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Only show what the directory holds
    #[arg(long)]
    show: bool,
    /// The new cluster's name; another one than the old cluster's
    #[arg(
        long,
        env = "GLASSRAFT_CLUSTER_ID",
        value_name = "NAME",
        required_unless_present = "show"
    )]
    cluster_id: Option<String>,
    /// The servers of the new cluster, this one included, as ID=PEER/CLIENT. Usually this one alone;
    /// others are let in later. For more founders repeat the command with --id and --into
    #[arg(long, env = "GLASSRAFT_MEMBERS", value_name = "LIST", required_unless_present = "show")]
    members: Option<Members>,
    /// The server's number [default: that of the survivor]
    #[arg(long, value_name = "N")]
    id: Option<u64>,
    /// Make the new directory here, and leave the survivor's where it is
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// How to print what was done
    #[arg(long, short, value_name = "FORM", default_value = "text")]
    output: Output,
}

pub(super) fn run(arguments: &RecoverArgs) -> anyhow::Result<()> {
    let data = &arguments.data;
    let aside = beside(data, "lost-majority");
    if !data.exists() && aside.as_ref().is_ok_and(|aside| aside.exists()) {
        bail!(
            "{} is not there, but {} is: an earlier run was interrupted. Rename that one back to \
             {} and run the command again",
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
        ensure!(!aside.exists(), "{} is there already: move it away first", aside.display());
    }
    let made = match &arguments.into {
        Some(into) => into.clone(),
        None => beside(data, "recovered")?,
    };
    if in_place && made.exists() && Storage::is_free_for_restore(&made).is_err() {
        bail!("{} is left from an earlier run: remove it first", made.display());
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
        "\n{} holds that state for {id} of cluster {cluster_id}. Start it with --cluster-id \
         {cluster_id} and --members {members}, without --new-cluster",
        place.display()
    );
    print(arguments.output, &survivor, answer, &text)
}

/// Puts the new directory in the place of the old one, which is kept beside it.
fn exchange(data: &Path, made: &Path) -> anyhow::Result<()> {
    let aside = beside(data, "lost-majority")?;
    let renamed = std::fs::rename(data, &aside).and_then(|()| std::fs::rename(made, data));
    renamed.with_context(|| {
        format!(
            "the new directory is complete at {}, but it cannot be put in the place of {}; if that \
             is where a file system is mounted, use --into",
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

/// The directory of this name with an ending.
fn beside(data: &Path, ending: &str) -> anyhow::Result<PathBuf> {
    let name = data.file_name().with_context(|| {
        format!("{} has no name that an ending could be added to: use --into", data.display())
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
            "{} of cluster {} has entries up to index {} of term {}, revision {}; it did not know \
             of the last {unsure} that they are committed{text}",
            identity.node,
            identity.cluster,
            last.index.0,
            last.term.0,
            store.revision(),
        )),
    }
}
