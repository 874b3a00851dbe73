//! `native-node serve`.

use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::start_log;
use crate::config::{self, Layer, ServeConfig};
use crate::server;

/// Run one server of a cluster.
///
/// Each setting may come from a flag, from the environment variable named beside it, or from a
/// TOML file; a flag counts before the environment, and that before the file.
#[derive(Args)]
#[command(after_help = "Examples:
  Three servers on one machine, each in a terminal of its own:
    M=1=127.0.0.1:8001/127.0.0.1:7001,2=127.0.0.1:8002/127.0.0.1:7002,3=127.0.0.1:8003/127.0.0.1:7003
    native-node serve --id 1 --cluster-id demo --data data/1 --members $M --new-cluster
    native-node serve --id 2 --cluster-id demo --data data/2 --members $M --new-cluster
    native-node serve --id 3 --cluster-id demo --data data/3 --members $M --new-cluster
  From the second start on the same without --new-cluster.
  A fourth one, and then let it in:
    native-node serve --id 4 --cluster-id demo --data data/4 \
      --members $M,4=127.0.0.1:8004/127.0.0.1:7004
    native-node member add 4=127.0.0.1:8004/127.0.0.1:7004
  With tokens and TLS, on other addresses than loopback (`native-node cert --help`):
    native-node serve --id 1 --cluster-id mine --data data/1 --members $M --tokens-file tokens \
      --tls-cert node-1.pem --tls-key node-1-key.pem --tls-ca ca.pem \
      --peer-tls-cert node-1.pem --peer-tls-key node-1-key.pem --peer-tls-ca ca.pem
  The same from a file, and what then holds:
    native-node serve --config node1.toml --print-config")]
pub(super) struct ServeArgs {
    /// A TOML file with settings; --print-config shows what one looks like
    #[arg(long, env = "GLASSRAFT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Found a new cluster of the servers in --members. Only for the very first start of each of
    /// them: a server that finds its directory empty without this neither votes nor leads until it
    /// is added (`native-node member add`), since it may have lost what it promised.
    #[arg(long)]
    new_cluster: bool,
    /// Print the settings that hold, as a TOML file, and end
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    layer: Layer,
}

/// Runs the server until it is told to end.
pub(super) fn run(arguments: ServeArgs) -> anyhow::Result<()> {
    let file = arguments.config.as_deref().map(config::read_file).transpose()?.unwrap_or_default();
    let mut config = ServeConfig::resolve(arguments.layer.over(file))?;
    config.new_cluster = arguments.new_cluster;
    if arguments.print_config {
        let text = toml::to_string(&config.to_layer()).context("a setting has no TOML form")?;
        print!("{text}");
        return Ok(());
    }
    start_log(&config.log, config.log_format)?;
    allow_many_files(config.limits.max_connections);
    let mut builder = if config.worker_threads == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = builder.worker_threads(config.worker_threads).enable_all().build()?;
    let stop = CancellationToken::new();
    if config.exit_with_parent {
        end_with_parent(stop.clone());
    }
    runtime.block_on(async {
        tokio::spawn(end_on_signal(stop.clone())?);
        server::serve(config, stop).await
    })
}

/// Each connection takes a file, and many systems allow few until a program asks for more.
fn allow_many_files(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // Those of the log, of snapshots, of other servers and of the page.
    const OTHERS: u64 = 256;
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if raised.is_err() || allowed < connections as u64 + OTHERS {
        tracing::warn!(
            "the system allows this process {allowed} open files, which --max-connections \
             {connections} may exceed: raise it (ulimit -n, LimitNOFILE=)"
        );
    }
}

/// Ends the server on Ctrl-C or SIGTERM; the second one ends the process at once.
fn end_on_signal(stop: CancellationToken) -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stop.is_cancelled() {
                tracing::warn!("told to end twice: ending at once");
                std::process::exit(1);
            }
            tracing::info!("told to end: finishing what was accepted");
            stop.cancel();
        }
    })
}

/// Ends the server when the program that started it ends, however that happens.
fn end_with_parent(stop: CancellationToken) {
    // Reaches a server that is stopped (SIGSTOP) too, which would not see its input end.
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, set_parent_process_death_signal};
        if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
            tracing::warn!("frozen, this server would outlive its parent: {error}");
        }
    }
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut buffer = [0; 256];
        while matches!(input.read(&mut buffer), Ok(count) if count > 0) {}
        tracing::info!("the program that started this server has ended; ending too");
        stop.cancel();
    });
}
