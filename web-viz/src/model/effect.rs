//! Effects: what an action asks of the simulation and of the browser.

use std::rc::Rc;

use api::demo::Action as DemoAction;
use raft_core::event::Event;
use raft_core::sim::BranchId;
use raft_core::types::{EventId, Time};

use super::Theme;
use crate::address::Place;
use crate::domain::form::Ask;
use crate::domain::history::Jump;
use crate::domain::run::SimSetup;
use crate::domain::run::Stretch;
use crate::link::Recall;

/// What an action asks of the simulation.
#[derive(Clone, Debug)]
pub(crate) enum SimEffect {
    /// Start a run.
    Begin(SimSetup),
    /// Start a run, repeat the current run's actions in it, and advance it to the same time.
    Rerun(SimSetup),
    /// Start the run of a link.
    Recall(SimSetup, Rc<Recall>),
    /// Show a trace.
    Load(String),
    /// Return all events up to the shown moment.
    Trace,
    /// Return the contents of a link to the shown moment.
    Link,
    /// Compare two branches.
    Compare(BranchId, BranchId),
    /// Run up to a time.
    Advance(Time),
    /// Process the next event.
    Step,
    /// Jump to another moment of the run.
    Jump(Jump),
    /// Start a lesson's run, and play its script this far.
    Study(SimSetup, Stretch),
    /// Play a lesson's script this far.
    Script(Stretch),
    /// Drop the script, and let the cluster run on.
    Unscript,
    Act(raft_core::sim::Action),
    /// Send a client's request.
    Ask(Ask),
    /// Start recording a live cluster.
    Watch,
    /// Record events of a live cluster, up to a time.
    Record(Vec<Event>, Time),
}

/// Image formats to save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Save {
    /// The stage as a vector image.
    Svg,
    /// The stage as a bitmap.
    Png,
}

/// What an action asks of the simulation and of the browser.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Sim(SimEffect),
    /// Watch a live cluster with this token, which can be empty. `None` means the cluster that
    /// served the page.
    Connect(Option<String>, String),
    Disconnect,
    /// Send a client's request to a live server at this address.
    AskLive(Ask, String),
    /// Send an action to the demo's supervisor.
    Supervise(DemoAction),
    /// Show this in the address bar.
    Address(Place),
    /// Copy this text to the clipboard.
    Copy(String),
    /// Offer a trace as a file.
    Give(String),
    /// Offer an image as a file.
    Save(Save),
    SaveTheme(Theme),
    /// Move the focus to a message on the stage.
    Focus(EventId),
}
