//! Lessons in Markdown. Fenced `raft` blocks say what happens to a simulated cluster and what the
//! result must be.
//!
//! One file serves as a text about Raft, as a test, and as a lesson that the page plays step by
//! step. The test runs twice: with all rules in place, and with one rule broken. This module does
//! no I/O: the caller passes the text as `&str` and owns the simulation.
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
pub use command::{Command, Kind, MessageAction, MessageQuery};
pub use condition::{AtLeast, Condition, Refusal, Reply};
pub use guarantee::Guarantee;
pub use header::Header;
pub use library::{LIBRARY, Source, find};
pub use outline::{Part, Placed, outline};
pub use runner::{Progress, Runner, World};

use crate::sim::SimConfig;

/// A lesson or a shorter scenario, as written in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The file's name, for messages.
    pub file: String,
    /// The first heading.
    pub title: String,
    /// The header above the title.
    pub header: Header,
    /// The steps in order, one for each heading.
    pub steps: Vec<Step>,
    /// The question for the learner; every lesson has a question.
    pub question: Option<Question>,
}

/// The content below one heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The part of the lesson to which the step belongs.
    pub phase: Phase,
    /// Its heading.
    pub title: String,
    /// The line of its heading, from 1.
    pub line: usize,
    /// Text and commands, in order.
    pub blocks: Vec<Block>,
}

/// The parts of a lesson, in the order of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The topic.
    Introduction,
    /// A question with choices: what will happen?
    Predict,
    /// The run.
    Run,
    /// Why the run went this way.
    Explain,
    /// What would happen without the rule.
    Break,
}

/// A piece of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// Markdown for the reader.
    Prose(String),
    /// Commands that run.
    Commands(Vec<Line>),
}

/// One command, as written in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its line in the file, from 1.
    pub number: usize,
    /// Its words, without the arm.
    pub text: String,
    /// The only arm that runs this line; `None` for both arms.
    pub only: Option<Arm>,
    /// The parsed command.
    pub command: Command,
}

/// The two runs of a scenario: with all rules kept, and with one rule broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arm {
    /// All rules are in place.
    Kept,
    /// The rule of [`Header::breaks`] is broken.
    Broken,
}

/// The question for a learner before anything happens.
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
    /// Whether the answer is right. Exactly one answer is right.
    pub right: bool,
    /// Why the answer is right, or what it overlooks.
    pub comment: String,
}

/// A scenario cannot be parsed, or its run differs from its file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct Fault {
    /// The file.
    pub file: String,
    /// The line in the file, from 1.
    pub line: usize,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl Scenario {
    /// Parses a scenario. `file` is its name in messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, Fault> {
        Self::of_parts(file, outline(text))
    }

    /// Builds a scenario from the parts of its file.
    pub fn of_parts(file: &str, parts: Vec<Placed>) -> Result<Self, Fault> {
        assemble::assemble(file, parts)
    }

    /// The initial configuration of the simulation for one arm.
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
    /// The commands of the step, in order.
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
