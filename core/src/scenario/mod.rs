//! Lessons: Markdown for a reader, in which fenced `raft` blocks say what happens to a simulated
//! cluster and what must come of it.
//!
//! One file is three things: a text on Raft, a test that runs twice (with every rule in place, and
//! with one rule broken), and what the page plays step by step. Nothing in here does I/O: the text
//! comes in as `&str`, and whoever plays a scenario owns the simulation.
//!
//! ```
//! use raft_core::scenario::{Arm, Runner, Scenario};
//!
//! let text = "# A leader\n## Run\n```raft\nelect S1\nwait until S1 leads term 1\n```\n";
//! let scenario = Scenario::parse("leader.md", text)?;
//! let mut simulation = raft_core::sim::Simulation::new(scenario.config(Arm::Kept));
//! Runner::new(&scenario, Arm::Kept).finish(&mut simulation)?;
//! # Ok::<(), raft_core::scenario::Fault>(())
//! ```

mod assemble;
mod command;
mod condition;
mod guarantee;
mod header;
mod judge;
mod library;
mod outline;
mod parse;
mod perform;
mod runner;
mod words;

use std::fmt;

pub use assemble::RIGHT;
pub use command::{Command, Deed, Kind, MessageQuery};
pub use condition::{Answer, AtLeast, Condition, Refusal};
pub use guarantee::Guarantee;
pub use header::Header;
pub use library::{LIBRARY, Source, find};
pub use outline::{Part, Placed, outline};
pub use runner::{Progress, Runner, World};

use crate::sim::SimConfig;

/// A lesson or a shorter scenario, as its file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The file's name, for messages.
    pub file: String,
    /// The first heading.
    pub title: String,
    /// The data before it.
    pub header: Header,
    /// A step a heading, in order.
    pub steps: Vec<Step>,
    /// What a learner is asked first; every lesson has one.
    pub question: Option<Question>,
}

/// What stands below one heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The part of the lesson that it belongs to.
    pub phase: Phase,
    /// Its heading.
    pub title: String,
    /// The line of its heading, from 1.
    pub line: usize,
    /// Text and commands, in order.
    pub blocks: Vec<Block>,
}

/// The parts of a lesson, in the order in which a learner goes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// What it is about.
    Introduction,
    /// What will happen? A question with choices.
    Predict,
    /// It happens.
    Run,
    /// Why it happened.
    Explain,
    /// What would happen without the rule.
    Break,
}

/// A piece of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// Markdown for the reader.
    Prose(String),
    /// What happens.
    Commands(Vec<Line>),
}

/// One command as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its line there, from 1.
    pub number: usize,
    /// Its words, without the arm.
    pub text: String,
    /// The arm in which alone it holds; `None` for both.
    pub only: Option<Arm>,
    /// What they mean.
    pub command: Command,
}

/// A scenario runs twice: with all rules kept, and with one broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arm {
    /// All rules are in place.
    Kept,
    /// The rule of [`Header::breaks`] is broken.
    Broken,
}

/// What a learner is asked before anything happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The choices, in order, as Markdown.
    pub choices: Vec<Choice>,
}

/// One answer that a learner may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The answer.
    pub text: String,
    /// Whether it is right; one of them is.
    pub right: bool,
    /// Why it is right, or what it overlooks.
    pub comment: String,
}

/// A scenario that cannot be read, or one that went otherwise than its file says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct Fault {
    /// The file.
    pub file: String,
    /// The line there, from 1.
    pub line: usize,
    /// What is wrong and what was expected.
    pub message: String,
}

impl Scenario {
    /// Reads a scenario. `file` is what messages call it.
    pub fn parse(file: &str, text: &str) -> Result<Self, Fault> {
        Self::of_parts(file, outline(text))
    }

    /// The scenario whose file has these parts.
    pub fn of_parts(file: &str, parts: Vec<Placed>) -> Result<Self, Fault> {
        assemble::assemble(file, parts)
    }

    /// What the simulation of one arm starts from.
    pub fn config(&self, arm: Arm) -> SimConfig {
        let mutation = match arm {
            Arm::Kept => None,
            Arm::Broken => self.header.breaks,
        };
        SimConfig { mutation, ..self.header.config.clone() }
    }

    /// The commands of an arm, in order, each with the number of its step.
    pub fn lines(&self, arm: Arm) -> impl Iterator<Item = (usize, &Line)> {
        let numbered = self.steps.iter().enumerate();
        let all = numbered.flat_map(|(number, step)| step.lines().map(move |line| (number, line)));
        all.filter(move |(_, line)| line.only.is_none_or(|only| only == arm))
    }
}

impl Step {
    /// Its commands, in order.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.blocks.iter().flat_map(|block| match block {
            Block::Prose(_) => &[],
            Block::Commands(lines) => lines.as_slice(),
        })
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "kept",
            Self::Broken => "broken",
        })
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Introduction => "Introduction",
            Self::Predict => "Predict",
            Self::Run => "Run",
            Self::Explain => "Explain",
            Self::Break => "Break",
        })
    }
}
