//! What an action asks of others: of the simulation, and of the world outside.

use std::rc::Rc;

use raft_core::event::Event;
use raft_core::sim::BranchId;
use raft_core::types::{EventId, Time};

use super::Theme;
use super::desk::Ask;
use super::history::Jump;
use super::live::Order;
use crate::address::Place;
use crate::link::Recall;
use crate::source::script::Stretch;
use crate::source::sim::SimSetup;

/// What an action asks of the simulation.
#[derive(Clone, Debug)]
pub(crate) enum SimEffect {
    /// Begin a run.
    Begin(SimSetup),
    /// Begin a run, do in it what was done in the present one, and go as far.
    Rerun(SimSetup),
    /// Begin the run that a link tells of.
    Recall(SimSetup, Rc<Recall>),
    /// Show a trace.
    Load(String),
    /// Tell all events up to the shown moment.
    Trace,
    /// Tell what a link to the shown moment holds.
    Link,
    /// Put two branches side by side.
    Compare(BranchId, BranchId),
    /// Run up to a time.
    Advance(Time),
    /// Let the next thing happen.
    Step,
    /// Go elsewhere in the run.
    Jump(Jump),
    /// Begin a lesson's run, and let its script go so far at once.
    Study(SimSetup, Stretch),
    /// Let a lesson's script go on.
    Script(Stretch),
    /// Let the cluster go on without its script.
    Unscript,
    Act(raft_core::sim::Action),
    /// Put a client's question.
    Ask(Ask),
    /// Keep what comes of a live cluster from now on.
    Watch,
    /// What came of a live cluster, up to a time.
    Record(Vec<Event>, Time),
}

/// What can be saved as a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Save {
    /// The stage as a drawing.
    Svg,
    /// The stage as a picture.
    Png,
}

/// What an action asks of the world outside.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Sim(SimEffect),
    /// Watch a live cluster (`None` for the one that the page came from) with this token, if any.
    Connect(Option<String>, String),
    Disconnect,
    /// Put a client's question to a live server.
    AskLive(Ask, String),
    /// Ask the demo's supervisor to do something to its cluster.
    Supervise(Order),
    /// Show this in the address bar.
    Address(Place),
    /// Put this into the clipboard.
    Copy(String),
    /// Give the person a trace as a file.
    Give(String),
    /// Give the person a picture.
    Save(Save),
    SaveTheme(Theme),
    /// Put the focus on a message of the stage.
    Focus(EventId),
}
