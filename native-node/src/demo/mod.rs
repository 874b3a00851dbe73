//! `glassraft demo`: a cluster of server processes on this machine, and a web page that shows it.
//! Users can kill, freeze and restart each process and watch the recovery.

mod console;
mod directory;
mod failover;
mod faults;
mod page;
mod plan;
mod problem;
mod process;
mod supervisor;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use api::address::Address;
use clap::Args;
use client::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::config::{Limits, LogFormat};
use crate::descriptors::Shares;
use crate::http;
use crate::metrics::Connections;
use crate::output::tell;
use directory::Claim;
use plan::Plan;
use supervisor::Supervisor;

/// The timeout for the cluster to elect its first leader.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Run a cluster on this machine, with a web page that shows it and injects faults.
///
/// Each server is a process. The data directory persists: the next start continues with its data.
/// Ctrl-C stops all servers.
#[derive(Args)]
#[command(after_help = "Examples:
  glassraft demo
  glassraft demo --port 9000 --dir /tmp/my-demo
  glassraft demo --nodes 5 --open

Type these commands while the demo runs:
  kill 1, restart 1     kill the process of S1, or start it again
  freeze 1, resume 1    pause the process of S1, or continue it
  cut 1 2               cut the link between S1 and S2
  cut 1>2               cut the link only from S1 to S2
  isolate 1             cut all links of S1
  split 1,2             cut the links of S1 and S2 to all other servers
  stall 1               the disk of S1 hangs
  full 1                the disk of S1 is full; S1 notices it within 16 MiB of writes
  mend-disk 1           the disk of S1 works again
  heal, heal 1          end all faults of links and disks, or those of S1
  status, quit          show the processes, or stop the demo

Faults of links and disks outlast a restart of the server.")]
pub struct DemoArgs {
    /// The directory for the servers' data and logs
    #[arg(long, value_name = "DIR", default_value = ".demo")]
    dir: PathBuf,
    /// The page's port. Servers use the next ports for clients, and the ports 100 above these for
    /// each other
    #[arg(long, value_name = "PORT", default_value_t = 7000)]
    port: u16,
    /// The number of servers
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// The directory of the built page
    #[arg(long, value_name = "DIR", default_value = "dist")]
    web_dir: PathBuf,
    /// Open the page in a browser
    #[arg(long)]
    open: bool,
    /// Which log lines the servers write to their log files
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

/// Runs the demo until it is told to stop.
pub fn run(arguments: DemoArgs) -> anyhow::Result<()> {
    crate::logging::start("warn", LogFormat::Text)?;
    // A single thread, which lives as long as the process. Servers end with the thread that started
    // them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(demo(arguments));
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn demo(arguments: DemoArgs) -> anyhow::Result<()> {
    let plan = Plan::new(&arguments.dir, arguments.port, arguments.nodes, &arguments.log)?;
    check_ports(&arguments, &plan)?;
    let claim = directory::claim(&arguments.dir, arguments.nodes)?;
    let page = Address::from(std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port)));
    let listener = http::Listener::bind(&page, None)
        .await
        .with_context(|| in_use(arguments.port, "the page"))?;
    let stop = CancellationToken::new();
    tokio::spawn(end_on_signal(stop.clone())?);
    let supervisor = Arc::new(Supervisor::start(plan, claim.founded)?);
    let result = attend(&arguments, &supervisor, claim, listener, stop.clone()).await;
    stop.cancel();
    tell("stopping the servers");
    supervisor.end_all().await;
    result
}

/// Serves the page until the demo is told to stop.
async fn attend(
    arguments: &DemoArgs,
    supervisor: &Arc<Supervisor>,
    mut claim: Claim,
    listener: http::Listener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let built = page::is_built(&arguments.web_dir);
    let router = page::router(Arc::clone(supervisor), &arguments.web_dir);
    let limits = Limits::default();
    let shares = Shares::of_clients(limits.max_connections);
    let serving = http::serve_service(
        listener,
        move |_| router.clone(),
        limits,
        shares,
        Connections::default(),
        stop.clone(),
    );
    let serving = tokio::spawn(serving);
    let reaping = tokio::spawn(Arc::clone(supervisor).watch(stop.clone()));
    tokio::spawn(Arc::clone(supervisor).keep_telling(stop.clone()));
    introduce(arguments, supervisor, built);
    let ready = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        ready = await_leader(supervisor) => ready,
    };
    ready?;
    if !claim.founded && supervisor.have_all_begun() {
        claim.set_founded()?;
        supervisor.set_founded();
    }
    let url = format!("http://127.0.0.1:{}", arguments.port);
    tell(&format!("ready {url}"));
    if arguments.open {
        open_browser(&url);
    }
    console::start(Arc::clone(supervisor), stop.clone());
    stop.cancelled().await;
    serving.await.context("the page ended because of a bug")?;
    reaping.await.context("the supervisor ended because of a bug")
}

fn introduce(arguments: &DemoArgs, supervisor: &Supervisor, built: bool) {
    tell(&format!("{} servers, data and logs in {}", arguments.nodes, arguments.dir.display()));
    for node in supervisor.plan().nodes() {
        tell(&format!("  S{}  http://{}  log {}", node.id, node.client, node.log.display()));
    }
    let (first, last) = (arguments.port + 1, arguments.port + arguments.nodes);
    tell("Try:");
    tell(&format!(
        "  curl -d '{{\"key\":\"greeting\",\"value\":\"hello\"}}' http://127.0.0.1:{first}/set"
    ));
    tell(&format!("  curl http://127.0.0.1:{last}/get/greeting"));
    tell(&format!("  curl http://127.0.0.1:{first}/cluster/status"));
    tell(&format!("Commands: {} (or Ctrl-C)", console::COMMANDS));
    if !built {
        tell(&format!(
            "The page is not built: {} has no index.html. Build it with `cargo xtask web`, or \
             choose another directory with --web-dir.",
            arguments.web_dir.display()
        ));
    }
}

/// Waits until a server knows the leader.
async fn await_leader(supervisor: &Supervisor) -> anyhow::Result<()> {
    let servers = supervisor.plan().nodes().iter().map(|node| node.client.clone()).collect();
    let client = Client::new(servers, Duration::from_secs(1));
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        if let Some(problem) = supervisor.failed_start() {
            bail!(problem);
        }
        if let Ok(status) = client.status().await
            && status.leader.is_some()
        {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "no leader within {START_PATIENCE:?}; see the servers' logs in {}",
                supervisor.plan().directory().display()
            );
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Fails if a port is in use, before anything starts.
fn check_ports(arguments: &DemoArgs, plan: &Plan) -> anyhow::Result<()> {
    let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop);
    free(arguments.port).with_context(|| in_use(arguments.port, "the page"))?;
    for node in plan.nodes() {
        for (address, what) in [(&node.client, "clients of"), (&node.peer, "the peers of")] {
            let what = format!("{what} S{}", node.id);
            free(address.port()).with_context(|| in_use(address.port(), &what))?;
        }
    }
    Ok(())
}

fn in_use(port: u16, what: &str) -> String {
    format!("port {port} for {what} cannot be used; choose other ports with --port")
}

fn end_on_signal(stop: CancellationToken) -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        stop.cancel();
    })
}

fn open_browser(url: &str) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    if let Err(error) = std::process::Command::new(program).arg(url).spawn() {
        tell(&format!("cannot open a browser with {program}: {error}; open {url} yourself"));
    }
}
