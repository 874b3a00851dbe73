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
pub(crate) mod output;
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

/// A durable key-value store on Raft.
#[derive(Parser)]
#[command(name = "native-node", version, about, propagate_version = true)]
#[command(after_help = format!("Examples:
  native-node demo                     three servers and a page to watch them
  native-node put greeting hello       set a key
  native-node get greeting             read it back
  native-node status                   see who leads

{}", exit::CODES))]
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
    /// Ask a server whether it is alive or ready: for probes of containers
    Health(health::HealthArgs),
    /// Show the members, or let servers join and leave
    Member(cluster::MemberArgs),
    /// Hand leadership over
    TransferLeader(cluster::TransferArgs),
    /// Let a server take a snapshot and shorten its log
    Snapshot(cluster::SnapshotArgs),
    /// Grant leases, keep them alive, and end them
    Lease(lease::LeaseArgs),
    /// List the sessions of clients, and end them
    Session(session::SessionArgs),
    /// Save the whole state to a file, while the cluster goes on
    Backup(backup::BackupArgs),
    /// Make a server's data directory from a backup
    Restore(backup::RestoreArgs),
    /// Go on with what one server has, when the majority is lost for good
    Recover(recover::RecoverArgs),
    /// Load a cluster that runs, and see what it takes
    Bench(bench::BenchArgs),
    /// Print what lets a shell complete commands and flags
    Completions(CompletionsArgs),
    /// Make an authority and a certificate for each server
    Cert(cert::CertArgs),
    /// Make a token with which a client may come in
    Token(token::TokenArgs),
}

/// Runs the program; says how it ended.
pub fn run() -> ExitCode {
    // A file that may not grow is an error of the write then, and not the end of the process.
    let told = Arc::default();
    if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, told) {
        eprintln!("warning: a limit of the system on the size of files would end this: {error}");
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

/// Completions of commands and flags for a shell.
#[derive(Args)]
#[command(after_help = "Examples:
  native-node completions bash > ~/.local/share/bash-completion/completions/native-node
  native-node completions zsh > \"${fpath[1]}/_native-node\"
  native-node completions fish > ~/.config/fish/completions/native-node.fish")]
struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

fn completions(arguments: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "native-node", &mut script);
    output::bytes(&script)
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // A look-up of a name that hangs must not keep the program.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the definition of the command line as a whole, and that every command shows an example.
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
