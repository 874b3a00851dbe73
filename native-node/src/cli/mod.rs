//! The command line.

mod backup;
mod bench;
mod cert;
mod cluster;
mod connect;
mod exit;
mod health;
mod keys;
mod lease;
mod progress;
mod recover;
mod serve;
mod session;
mod status;
mod token;
mod watch;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::demo;

/// A durable key-value store built on Raft.
#[derive(Parser)]
#[command(name = "glassraft", version, about, propagate_version = true)]
#[command(after_help = format!("Examples:
  glassraft demo                     three servers, and a web page that shows them
  glassraft put greeting hello       set a key
  glassraft get greeting             read the key
  glassraft status                   show the leader

{}", exit::CODES))]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a server of a cluster
    Serve(Box<serve::ServeArgs>),
    /// Run a cluster on this machine, with a web page that shows it and injects faults
    Demo(demo::DemoArgs),
    /// Read a key
    Get(keys::GetArgs),
    /// Set a key
    Put(keys::PutArgs),
    /// Remove a key
    Delete(keys::DeleteArgs),
    /// Read and change several keys atomically
    Txn(keys::TxnArgs),
    /// Follow the changes of keys
    Watch(watch::WatchArgs),
    /// Show the leader, the followers and their progress
    Status(status::StatusArgs),
    /// Check whether a server is alive or ready, for container probes
    Health(health::HealthArgs),
    /// Show, add, promote or remove members
    Member(cluster::MemberArgs),
    /// Transfer leadership to another server
    TransferLeader(cluster::TransferArgs),
    /// Make a server take a snapshot and compact its log
    Snapshot(cluster::SnapshotArgs),
    /// Grant, keep alive, revoke and show leases
    Lease(lease::LeaseArgs),
    /// List and end sessions of clients
    Session(session::SessionArgs),
    /// Save the whole state to a file while the cluster runs
    Backup(backup::BackupArgs),
    /// Create a server's data directory from a backup
    Restore(backup::RestoreArgs),
    /// Continue with the state of one server after a permanent loss of the quorum
    Recover(recover::RecoverArgs),
    /// Measure throughput and latency of a running cluster
    Bench(bench::BenchArgs),
    /// Print a shell script that completes commands and flags
    Completions(CompletionsArgs),
    /// Create a certificate authority and a certificate for each server
    Cert(cert::CertArgs),
    /// Create an API token
    Token(token::TokenArgs),
}

/// Runs the program and returns its exit code.
pub fn run() -> ExitCode {
    // Without a handler the signal would end the process; with it the write returns an error.
    let told = Arc::default();
    if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, told) {
        eprintln!(
            "warning: cannot handle SIGXFSZ, so a file above the system's size limit ends this \
             process: {error}"
        );
    }
    let result = match Cli::parse().command {
        Command::Serve(arguments) => serve::run(*arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Get(arguments) => block_on(keys::get(arguments)),
        Command::Put(arguments) => block_on(keys::put(arguments)),
        Command::Delete(arguments) => block_on(keys::delete(arguments)),
        Command::Txn(arguments) => block_on(keys::txn(arguments)),
        Command::Watch(arguments) => block_on(watch::run(arguments)),
        Command::Status(arguments) => block_on(status::run(arguments)),
        Command::Health(arguments) => block_on(health::run(arguments)),
        Command::Member(arguments) => block_on(cluster::member(arguments)),
        Command::TransferLeader(arguments) => block_on(cluster::transfer(arguments)),
        Command::Snapshot(arguments) => block_on(cluster::snapshot(arguments)),
        Command::Lease(arguments) => block_on(lease::run(arguments)),
        Command::Session(arguments) => block_on(session::run(arguments)),
        Command::Backup(arguments) => block_on(backup::backup(arguments)),
        Command::Restore(arguments) => backup::restore(arguments),
        Command::Recover(arguments) => recover::run(&arguments),
        Command::Bench(arguments) => block_on(bench::run(arguments)),
        Command::Completions(arguments) => completions(&arguments),
        Command::Cert(arguments) => cert::run(arguments),
        Command::Token(arguments) => token::run(arguments),
    };
    exit::with(result)
}

/// Print a completion script for a shell.
#[derive(Args)]
#[command(after_help = "Examples:
  glassraft completions bash > ~/.local/share/bash-completion/completions/glassraft
  glassraft completions zsh > \"${fpath[1]}/_glassraft\"
  glassraft completions fish > ~/.config/fish/completions/glassraft.fish")]
struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

fn completions(arguments: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "glassraft", &mut script);
    crate::output::bytes(&script)
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // A DNS lookup that hangs must not delay the exit.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that the command line is well defined, and that every command shows examples.
    #[test]
    fn the_command_line_is_well_formed_and_shows_examples() {
        fn look(command: &clap::Command) {
            if command.has_subcommands() {
                command.get_subcommands().for_each(look);
            } else {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Examples:"), "{} shows none", command.get_name());
            }
        }
        Cli::command().debug_assert();
        look(&Cli::command());
    }
}
