//! `glassraft token`.

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use serde_json::json;

use super::connect::Output;
use crate::auth::{Scope, Token};

/// Create API tokens for clients.
#[derive(Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Create a token and print it once, with the line for the servers' tokens file
    #[command(after_help = "Examples:
  glassraft token new --scope write --name app
  glassraft token new --scope admin --name ops --output json

Give the token to the client (GLASSRAFT_TOKEN, or a file named by GLASSRAFT_TOKEN_FILE). Add the
line to the file of --tokens-file on each server; it contains only the token's hash. The servers
reload the file on SIGHUP, or within some seconds after a change. To revoke a token, remove its
line.")]
    New {
        /// The scope: read (keys, status, metrics, trace), write (also writes of keys, leases and
        /// sessions), or admin (everything)
        #[arg(long)]
        scope: Scope,
        /// The owner's name, for the tokens file and the audit log
        #[arg(long, value_name = "NAME")]
        name: String,
        /// How to print the token
        #[arg(long, short, value_name = "FORM", default_value = "text")]
        output: Output,
    },
}

/// Creates a token.
pub(super) fn run(arguments: TokenArgs) -> anyhow::Result<()> {
    let TokenCommand::New { scope, name, output } = arguments.command;
    ensure!(
        (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_graphic() && c != '#'),
        "`{}` cannot be a token name: use 1 to 64 visible ASCII characters, but no `#`",
        name.escape_debug()
    );
    let token = Token::generate().context("cannot get random bytes from the system")?;
    let line = token.line(&name, scope);
    crate::output::line(&match output {
        Output::Text => format!(
            "token (shown only once; give it to the client):\n{}\n\n\
             line for the tokens file of each server:\n{line}",
            token.reveal()
        ),
        Output::Json => json!({ "token": token.reveal(), "line": line }).to_string(),
    })
}
