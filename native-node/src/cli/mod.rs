//! The command line.

mod cert;
mod cluster;
mod keys;
mod serve;
mod status;
mod token;
mod watch;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::client::Client;
use crate::config::{Address, LogFormat, Span};
use crate::demo;

/// A durable key-value store on Raft.
#[derive(Parser)]
#[command(name = "native-node", version, about, propagate_version = true)]
#[command(after_help = "Examples:
  native-node demo                     three servers and a page to watch them
  native-node put greeting hello       set a key
  native-node get greeting             read it back
  native-node status                   see who leads")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one server of a cluster
    Serve(Box<serve::ServeArgs>),
    /// Run a cluster of real servers on this machine, with a page that shows and disturbs it
    Demo(demo::DemoArgs),
    /// Read a key
    Get(keys::GetArgs),
    /// Set a key
    Put(keys::PutArgs),
    /// Remove a key
    Delete(keys::DeleteArgs),
    /// Read and change several keys as one
    Txn(keys::TxnArgs),
    /// Follow the changes of keys as they happen
    Watch(watch::WatchArgs),
    /// Show who leads, who follows, and how far each is
    Status(status::StatusArgs),
    /// Show the members, or let servers join and leave
    Member(cluster::MemberArgs),
    /// Hand leadership over
    TransferLeader(cluster::TransferArgs),
    /// Let a server take a snapshot and shorten its log
    Snapshot(cluster::SnapshotArgs),
    /// Make an authority and a certificate for each server
    Cert(cert::CertArgs),
    /// Make a token with which a client may come in
    Token(token::TokenArgs),
}

/// How a client command finds the cluster.
#[derive(Args)]
struct ClientArgs {
    /// Where servers listen for clients; any of them will do, the others are tried in turn
    #[arg(
        long,
        env = "GLASSRAFT_ENDPOINTS",
        value_name = "HOST:PORT,…",
        value_delimiter = ',',
        default_value = "127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003"
    )]
    endpoints: Vec<Address>,
    /// How long to go on trying
    #[arg(long, env = "GLASSRAFT_TIMEOUT", value_name = "TIME", default_value = "5s")]
    timeout: Span,
    /// How to print the answer
    #[arg(long, short, value_name = "FORM", default_value = "text")]
    output: Output,
}

impl ClientArgs {
    fn client(&self) -> Client {
        Client::new(self.endpoints.clone(), self.timeout.0)
    }

    /// For what may take so long even if all goes well.
    fn patient_client(&self, least: Duration) -> Client {
        Client::new(self.endpoints.clone(), self.timeout.0.max(least))
    }
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// Runs the program; says how it ended.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(arguments) => serve::run(*arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Get(arguments) => block_on(keys::get(arguments)),
        Command::Put(arguments) => block_on(keys::put(arguments)),
        Command::Delete(arguments) => block_on(keys::delete(arguments)),
        Command::Txn(arguments) => block_on(keys::txn(arguments)),
        Command::Watch(arguments) => block_on(watch::run(arguments)),
        Command::Status(arguments) => block_on(status::run(arguments)),
        Command::Member(arguments) => block_on(cluster::member(arguments)),
        Command::TransferLeader(arguments) => block_on(cluster::transfer(arguments)),
        Command::Snapshot(arguments) => block_on(cluster::snapshot(arguments)),
        Command::Cert(arguments) => cert::run(arguments),
        Command::Token(arguments) => token::run(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // A look-up of a name that hangs must not keep the program.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

/// Starts the log on standard error.
pub(crate) fn start_log(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    use anyhow::Context as _;
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .with_context(|| format!("--log: `{filter}` is no filter; write for instance `info`"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Colours are for terminals; a file would only get their codes.
    let log = log.with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}
