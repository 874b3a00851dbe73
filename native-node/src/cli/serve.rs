//! `glassraft serve`.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Layer, ServeConfig};
use crate::output;
use crate::{logging, server, supervise};

/// The timeout for transferring leadership and closing the data directory. The shutdown delay and
/// the shutdown grace are added.
const END_PATIENCE: Duration = Duration::from_secs(20);

/// The timeout for blocking tasks when the runtime ends.
const LEFT_BEHIND: Duration = Duration::from_millis(100);

/// Run a server of a cluster.
///
/// Each setting comes from a flag, from the environment variable beside it, or from a TOML file. A
/// flag has precedence over the environment, and the environment over the file.
#[derive(Args)]
#[command(after_help = "Examples:
  Three servers on one machine, each in its own terminal:
    M=1=127.0.0.1:8001/127.0.0.1:7001,2=127.0.0.1:8002/127.0.0.1:7002,3=127.0.0.1:8003/127.0.0.1:7003
    glassraft serve --id 1 --cluster-id demo --data data/1 --members $M --new-cluster
    glassraft serve --id 2 --cluster-id demo --data data/2 --members $M --new-cluster
    glassraft serve --id 3 --cluster-id demo --data data/3 --members $M --new-cluster
  Later starts use the same commands without --new-cluster.
  Start a fourth server, and add it to the cluster:
    glassraft serve --id 4 --cluster-id demo --data data/4 \
      --members $M,4=127.0.0.1:8004/127.0.0.1:7004
    glassraft member add 4=127.0.0.1:8004/127.0.0.1:7004
  Use tokens and TLS, for addresses other than loopback (`glassraft cert --help`):
    glassraft serve --id 1 --cluster-id mine --data data/1 --members $M --tokens-file tokens \
      --tls-cert node-1.pem --tls-key node-1-key.pem --tls-ca ca.pem \
      --peer-tls-cert node-1.pem --peer-tls-key node-1-key.pem --peer-tls-ca ca.pem
  Read settings from a file, and print the settings that are in effect:
    glassraft serve --config node1.toml --print-config")]
pub(super) struct ServeArgs {
    /// A TOML file with settings; --print-config prints an example
    #[arg(long, env = "GLASSRAFT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Create a new cluster of the servers in --members. Use it only for the first start of each
    /// server. Without this flag a server with an empty directory neither votes nor campaigns until
    /// it is added (`glassraft member add`). Such a server may have lost its log and its vote.
    #[arg(long)]
    new_cluster: bool,
    /// Print the effective settings as a TOML file, and exit
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    layer: Layer,
}

/// Runs the server until it is told to stop.
pub(super) fn run(arguments: ServeArgs) -> anyhow::Result<()> {
    let file = arguments.config.as_deref().map(config::read_file).transpose()?.unwrap_or_default();
    let mut config = ServeConfig::resolve(arguments.layer.over(file))?;
    config.new_cluster = arguments.new_cluster;
    if arguments.print_config {
        let text =
            toml::to_string(&config.to_layer()).context("cannot write the settings as TOML")?;
        return output::bytes(text.as_bytes());
    }
    logging::start(&config.log, config.log_format)?;
    logging::end_on_panic();
    let ended = run_logged(config);
    logging::flush();
    ended
}

/// How long idle threads for blocking work are kept. The system may run out of threads and could
/// then not create them again.
const KEPT: Duration = Duration::from_hours(10 * 365 * 24);

/// Runs the server after logging was started.
fn run_logged(config: ServeConfig) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    end_on_signal(stop.clone(), &config)?;
    let mut builder = if config.worker_threads == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    builder.worker_threads(config.worker_threads).enable_all();
    let runtime = builder.thread_keep_alive(KEPT).build()?;
    if config.exit_with_parent {
        end_with_parent(stop.clone());
    }
    let ended = runtime.block_on(server::serve(config, stop));
    // Blocking work, for instance a DNS lookup, must not delay the exit.
    runtime.shutdown_timeout(LEFT_BEHIND);
    ended
}

/// Stops the server on Ctrl-C or SIGTERM; a second signal ends the process immediately. A separate
/// thread handles signals, because the runtime may be busy or stuck. If the server does not stop in
/// time, the process ends.
fn end_on_signal(stop: CancellationToken, config: &ServeConfig) -> anyhow::Result<()> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM]).context("cannot listen for SIGTERM and Ctrl-C")?;
    let limits = &config.limits;
    let patience = limits.shutdown_delay + limits.shutdown_grace + END_PATIENCE;
    let listening = move || {
        for (number, _) in signals.forever().enumerate() {
            if number > 0 {
                supervise::end_at_once("received a second signal: ending immediately");
            }
            tracing::info!("received a signal to stop: finishing accepted requests");
            supervise::end_within(patience);
            stop.cancel();
        }
    };
    let thread = std::thread::Builder::new().name("signals".to_owned());
    thread.spawn(listening).context("cannot start the thread that handles signals")?;
    Ok(())
}

/// Stops the server when its parent process ends, for any reason.
fn end_with_parent(stop: CancellationToken) {
    // SIGKILL also ends a server that is stopped (SIGSTOP), which does not notice the end of its
    // input.
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, set_parent_process_death_signal};
        if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
            tracing::warn!("if this server is frozen, it does not end with its parent: {error}");
        }
    }
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut buffer = [0; 256];
        while matches!(input.read(&mut buffer), Ok(count) if count > 0) {}
        tracing::info!("the program that started this server has ended; the server stops");
        stop.cancel();
    });
}
