//! The header of a scenario: the rule that it breaks, what fails then, and its configuration.

use super::Fault;
use super::guarantee::Guarantee;
use super::parse::span;
use super::words;
use crate::config::Config;
use crate::rules::Mutation;
use crate::sim::{DiskConfig, NetworkConfig, SimConfig};
use crate::types::MILLISECOND;

/// The header of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The lesson's number, such as `8` or `12b`; `None` if the scenario is not a lesson.
    pub lesson: Option<String>,
    /// The rule that the broken arm breaks.
    pub breaks: Option<Mutation>,
    /// The guarantee that fails first in the broken arm.
    pub fails: Option<Guarantee>,
    /// The sections of the papers about the rule.
    pub section: String,
    /// The function that implements the rule, such as `Rules::grant_vote`.
    pub rule: String,
    /// The initial configuration of a simulation, without a broken rule.
    pub config: SimConfig,
}

const KEYS: [&str; 16] = [
    "lesson",
    "breaks",
    "fails",
    "section",
    "rule",
    "servers",
    "seed",
    "delay",
    "disk",
    "election timeout",
    "heartbeat",
    "batch bytes",
    "keep entries",
    "lease reads",
    "max clock drift",
    "timers",
];

impl Default for Header {
    /// Three servers. Every message and every sync takes the same time, and elections start by
    /// command: a scenario must not depend on chance.
    fn default() -> Self {
        let delay = 10 * MILLISECOND;
        let sync = 2 * MILLISECOND;
        let config = SimConfig {
            node: Config { keep_entries: 0, ..Config::default() },
            network: NetworkConfig {
                delay_min: delay,
                delay_max: delay,
                ..NetworkConfig::default()
            },
            disk: DiskConfig { sync_min: sync, sync_max: sync, ..DiskConfig::default() },
            manual_elections: true,
            ..SimConfig::default()
        };
        let (section, rule) = (String::new(), String::new());
        Self { lesson: None, breaks: None, fails: None, section, rule, config }
    }
}

impl Header {
    /// Parses lines of `key: value`. The first of them is line `first` of the file.
    pub(super) fn parse(file: &str, first: usize, text: &str) -> Result<Self, Fault> {
        let mut header = Self::default();
        for (offset, line) in text.lines().enumerate() {
            let line_number = first + offset;
            let fault = |message| Fault { file: file.to_owned(), line: line_number, message };
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (key, value) = line
                .split_once(':')
                .ok_or_else(|| fault(format!("expected `key: value`, found `{line}`")))?;
            header.set(key.trim(), value.trim()).map_err(fault)?;
        }
        let fault = |message| Fault { file: file.to_owned(), line: first, message };
        if header.breaks.is_some() != header.fails.is_some() {
            return Err(fault(
                "`breaks` (the rule) and `fails` (the property) must appear together".to_owned(),
            ));
        }
        header.config.node.validate().map_err(|error| fault(error.to_string()))?;
        Ok(header)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let text = |error: words::Unknown| error.to_string();
        let config = &mut self.config;
        match key {
            "lesson" => self.lesson = Some(value.to_owned()),
            "breaks" => self.breaks = Some(words::variant("rule to break", value).map_err(text)?),
            "fails" => self.fails = Some(Guarantee::named(value).map_err(text)?),
            "section" => value.clone_into(&mut self.section),
            "rule" => value.clone_into(&mut self.rule),
            "servers" => {
                config.servers = number(value)?;
                if !(1..=9).contains(&config.servers) {
                    return Err(format!("expected 1 to 9 servers, found {value}"));
                }
            }
            "seed" => config.seed = number(value)?,
            "delay" => {
                (config.network.delay_min, config.network.delay_max) = range(value)?;
            }
            "disk" => (config.disk.sync_min, config.disk.sync_max) = range(value)?,
            "election timeout" => {
                (config.node.election_timeout_min, config.node.election_timeout_max) =
                    range(value)?;
            }
            "heartbeat" => config.node.heartbeat_interval = span(value)?,
            "batch bytes" => {
                config.node.max_batch_bytes =
                    usize::try_from(number(value)?).map_err(|error| error.to_string())?;
            }
            "keep entries" => config.node.keep_entries = number(value)?,
            "lease reads" => {
                config.node.lease_reads = match value {
                    "on" => true,
                    "off" => false,
                    _ => return Err(words::unknown("switch", value, ["on", "off"]).to_string()),
                };
            }
            "max clock drift" => {
                let percent = value.strip_suffix('%').map(str::trim);
                let percent = percent.ok_or(format!("expected `10 %`, found `{value}`"))?;
                config.node.max_clock_drift_permille = number(percent)?.saturating_mul(10);
            }
            "timers" => match value {
                "by hand" => config.manual_elections = true,
                "by themselves" => config.manual_elections = false,
                _ => {
                    let known = ["by hand", "by themselves"];
                    return Err(words::unknown("timers", value, known).to_string());
                }
            },
            _ => return Err(words::unknown("key", key, KEYS).to_string()),
        }
        Ok(())
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected a number, found `{text}`"))
}

/// `10 ms`, or `5 ms to 15 ms`.
fn range(text: &str) -> Result<(u64, u64), String> {
    let (low, high) = text.split_once(" to ").unwrap_or((text, text));
    let (low, high) = (span(low)?, span(high)?);
    if low > high {
        return Err(format!("expected the shorter time first, found `{text}`"));
    }
    Ok((low, high))
}
