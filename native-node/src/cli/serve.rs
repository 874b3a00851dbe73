//! `native-node serve`.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio_util::sync::CancellationToken;

use super::output;
use crate::config::{self, Layer, ServeConfig};
use crate::{logging, server, supervise};

/// How long handing over leadership and closing the data directory may take, beside the delay and
/// the grace that are set.
const END_PATIENCE: Duration = Duration::from_secs(20);

/// How long the last things may take.
const LEFT_BEHIND: Duration = Duration::from_millis(100);

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
        return output::bytes(text.as_bytes());
    }
    logging::start(&config.log, config.log_format)?;
    logging::end_on_panic();
    let ended = run_logged(config);
    logging::flush();
    ended
}

/// Threads for what blocks are kept for so long without work: a system that is out of threads would
/// not give them again.
const KEPT: Duration = Duration::from_hours(10 * 365 * 24);

/// The same with the log running.
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
    // What still blocks, such as the look-up of a name, must not keep the process.
    runtime.shutdown_timeout(LEFT_BEHIND);
    ended
}

/// Ends the server on Ctrl-C or SIGTERM; the second one ends the process at once. Signals are taken
/// by a thread of their own, since the runtime may be busy or stuck. A server that does not end in
/// time is ended too.
fn end_on_signal(stop: CancellationToken, config: &ServeConfig) -> anyhow::Result<()> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM]).context("cannot listen for SIGTERM and Ctrl-C")?;
    let limits = &config.limits;
    let patience = limits.shutdown_delay + limits.shutdown_grace + END_PATIENCE;
    let listening = move || {
        for (number, _) in signals.forever().enumerate() {
            if number > 0 {
                supervise::end_at_once("told to end twice: ending at once");
            }
            tracing::info!("told to end: finishing what was accepted");
            supervise::end_within(patience);
            stop.cancel();
        }
    };
    let thread = std::thread::Builder::new().name("signals".to_owned());
    thread.spawn(listening).context("cannot start the thread that takes signals")?;
    Ok(())
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
