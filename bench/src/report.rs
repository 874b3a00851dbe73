//! Report of all core measurements: as JSON for programs, as tables for people.

use std::fmt::{self, Write as _};
use std::process::Command;

use serde::Serialize;

use crate::consensus::{Contender, Row};
use crate::figures::Figure;
use crate::memory::Memory;
use crate::simulator::Speed;

/// The machine and the tools of a measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor model.
    pub processor: String,
    /// Number of usable hardware threads.
    pub threads: usize,
    /// The operating system.
    pub system: String,
    /// The active compiler (assumed to have built this program).
    pub rustc: String,
    /// The version of raft-rs in Cargo.lock.
    pub raft_rs: String,
}

impl Machine {
    /// Describes this machine; `unknown` for what cannot be determined.
    pub fn this() -> Self {
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            processor: model.map_or_else(unknown, |(_, name)| name.trim().to_owned()),
            threads: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            system: first_line("uname", &["-sr"]),
            rustc: first_line("rustc", &["--version"]),
            raft_rs: locked("raft").unwrap_or_else(unknown),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, threads, system, rustc, .. } = self;
        write!(f, "{processor}, {threads} threads, {system}; {rustc}")
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// Returns the first line of a program's output; `unknown` if it cannot run.
pub fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok();
    let text = output.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
    text.as_deref().and_then(|text| text.lines().next()).map_or_else(unknown, str::to_owned)
}

/// The version of a package in the Cargo.lock of this build.
fn locked(package: &str) -> Option<String> {
    let lock = include_str!("../../Cargo.lock");
    let (_, after) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    after.split('"').next().map(str::to_owned)
}

/// The figures of all core measurements.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The machine that ran it.
    pub machine: Machine,
    /// Comparison with raft-rs.
    pub consensus: Vec<Row>,
    /// The native simulator.
    pub simulator: Speed,
    /// The runner's name and the simulator in wasm, if measured.
    pub simulator_in_wasm: Option<(String, Speed)>,
    /// Memory, if measured.
    pub memory: Option<Memory>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; raft-rs {}\n", self.machine, self.machine.raft_rs)?;
        for applies in [false, true] {
            consensus_table(f, applies, &self.consensus)?;
        }
        simulator_table(f, self)?;
        self.memory.as_ref().map_or(Ok(()), |memory| memory_table(f, memory))
    }
}

fn consensus_table(f: &mut fmt::Formatter<'_>, applies: bool, rows: &[Row]) -> fmt::Result {
    let what = if applies { "with the state machine" } else { "consensus alone" };
    writeln!(f, "One thread stepping three servers, 64-byte commands, {what}: entries/s\n")?;
    writeln!(
        f,
        "| batch | ours | `propose` each | `batch_append` | one `MsgPropose` | ours : `propose` | ours : fastest |"
    )?;
    writeln!(f, "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
    for row in rows.iter().filter(|row| row.applies == applies) {
        write!(f, "| {} |", row.batch)?;
        for contender in Contender::ALL {
            write!(f, " {} |", figure(&row.entries_per_second[&contender]))?;
        }
        writeln!(f, " {:.2} | **{:.2}** |", row.to_usual, row.to_fastest)?;
    }
    writeln!(f)
}

fn simulator_table(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let runner = report.simulator_in_wasm.as_ref().map_or("wasm", |(runner, _)| runner.as_str());
    let wasm = report.simulator_in_wasm.as_ref().map(|(_, speed)| speed);
    writeln!(f, "| simulator | native | wasm, {runner} |\n| --- | ---: | ---: |")?;
    let mut row = |name: &str, of: fn(&Speed) -> &Figure, text: fn(&Figure) -> String| {
        let wasm = wasm.map_or_else(|| "not measured".to_owned(), |speed| text(of(speed)));
        writeln!(f, "| {name} | {} | {wasm} |", text(of(&report.simulator)))
    };
    row("events/s, 3 servers, a write each ms", |it| &it.loaded_events, figure)?;
    row("events/s, random clusters and faults", |it| &it.swarm_events, figure)?;
    row("events/s, 5 idle servers", |it| &it.idle_events, figure)?;
    row(
        "simulated hour of 5 idle servers",
        |it| &it.idle_hour,
        |it| format!("{:.2} s ±{:.0}%", it.median, it.spread() * 100.0),
    )?;
    writeln!(f)
}

fn memory_table(f: &mut fmt::Formatter<'_>, memory: &Memory) -> fmt::Result {
    writeln!(f, "| memory | bytes |\n| --- | ---: |")?;
    for (name, bytes) in [
        ("idle replica of three", memory.idle_replica),
        ("the same in raft-rs", memory.idle_raft_rs),
        ("simulated server of five, all included", memory.simulated_server),
        ("log entry, 64-byte command included", memory.entry),
        ("the same in raft-rs's MemStorage", memory.entry_raft_rs),
        ("key in the state, 8 bytes, with 51 bytes of value", memory.key),
    ] {
        writeln!(f, "| {name} | {} |", grouped(bytes))?;
    }
    Ok(())
}

fn figure(figure: &Figure) -> String {
    format!("{} ±{:.0}%", grouped(figure.median), figure.spread() * 100.0)
}

/// Formats a number as an integer with thousands separators.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        write!(text, "{digit}").expect("writing to a String does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that numbers get thousands separators.
    #[test]
    fn thousands_stand_apart() {
        let cases = [(0.4, "0"), (999.0, "999"), (1000.0, "1,000"), (1_234_567.0, "1,234,567")];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }

    /// Guards that the report names the version of raft-rs that it compares with.
    #[test]
    fn the_version_of_raft_rs_is_found() {
        let version = locked("raft").expect("raft is a dependency");
        assert!(version.starts_with("0.7."), "{version}");
    }
}
