//! The demo's processes and their command lines.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use api::address::Address;
use api::members::Members;

use super::directory::SECRET_FILE;

/// The cluster's name.
const CLUSTER: &str = "demo";

/// The settings of all servers.
#[derive(Debug)]
pub(super) struct Plan {
    directory: PathBuf,
    executable: PathBuf,
    origins: String,
    members: Members,
    log_filter: String,
    nodes: Vec<NodePlan>,
}

/// The settings of one server.
#[derive(Clone, Debug)]
pub(super) struct NodePlan {
    pub(super) id: u64,
    pub(super) client: Address,
    pub(super) peer: Address,
    pub(super) data: PathBuf,
    pub(super) log: PathBuf,
}

impl Plan {
    pub(super) fn new(
        directory: &Path,
        port: u16,
        nodes: u16,
        log_filter: &str,
    ) -> anyhow::Result<Self> {
        let address = |offset: u16| -> anyhow::Result<Address> {
            let port = port
                .checked_add(offset)
                .context("--port is too high: the servers use the ports above it")?;
            Ok(format!("127.0.0.1:{port}").parse()?)
        };
        let node = |number: u16| -> anyhow::Result<NodePlan> {
            Ok(NodePlan {
                id: u64::from(number),
                client: address(number)?,
                peer: address(100 + number)?,
                data: directory.join(format!("node-{number}")),
                log: directory.join(format!("node-{number}.log")),
            })
        };
        let nodes = (1..=nodes).map(node).collect::<anyhow::Result<Vec<_>>>()?;
        let member = |node: &NodePlan| format!("{}={}/{}", node.id, node.peer, node.client);
        Ok(Self {
            directory: directory.to_owned(),
            executable: std::env::current_exe().context("cannot find this program's file")?,
            origins: format!("http://127.0.0.1:{port},http://localhost:{port}"),
            members: nodes.iter().map(member).collect::<Vec<_>>().join(",").parse()?,
            log_filter: log_filter.to_owned(),
            nodes,
        })
    }

    pub(super) fn nodes(&self) -> &[NodePlan] {
        &self.nodes
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts a server. A server with an empty directory creates the cluster, unless it exists.
    pub(super) fn spawn(&self, node: &NodePlan, founded: bool) -> anyhow::Result<Child> {
        use std::os::unix::process::CommandExt;
        let open = || OpenOptions::new().create(true).append(true).open(&node.log);
        let log = open().with_context(|| format!("cannot write {}", node.log.display()))?;
        let mut command = Command::new(&self.executable);
        command.arg("serve");
        if !founded && !node.has_begun() {
            command.arg("--new-cluster");
        }
        command
            .args(["--id", &node.id.to_string(), "--cluster-id", CLUSTER])
            .arg("--data")
            .arg(&node.data)
            .args(["--members", &self.members.to_string()])
            .arg("--cluster-secret-file")
            .arg(self.directory.join(SECRET_FILE))
            .args(["--cors-origins", &self.origins, "--log", &self.log_filter])
            .args(["--exit-with-parent", "--allow-faults"])
            // The pipe closes when this process ends, for any reason.
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C reaches only this process, which then stops the servers.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start S{}", node.id))
    }
}

impl NodePlan {
    /// Whether the server was part of a cluster before.
    pub(super) fn has_begun(&self) -> bool {
        let is_snapshot =
            |name: &std::ffi::OsStr| Path::new(name).extension() == Some("snapshot".as_ref());
        fs::read_dir(&self.data)
            .is_ok_and(|entries| entries.flatten().any(|entry| is_snapshot(&entry.file_name())))
    }
}
