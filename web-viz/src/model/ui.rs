//! State of the page alone: what is open, selected and dragged, and how the page looks.

use raft_core::types::{EventId, LogIndex, NodeId};

use super::gesture::Gesture;
use crate::domain::feed::{Filter, Weight};
use crate::domain::lanes::{LanesAction, LanesUi};
use crate::domain::selection::Selection;
use crate::scene::layout::Size;

#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Ui {
    pub(crate) stage: Size,
    /// The selection, which every view can set.
    pub(crate) selection: Selection,
    /// The pointer gesture on the stage.
    pub(crate) gesture: Gesture,
    /// The server whose menu is open.
    pub(crate) menu: Option<NodeId>,
    /// The settings of the space-time diagram.
    pub(crate) lanes: LanesUi,
    pub(crate) filter: Filter,
    /// The panel below the stage on a phone.
    pub(crate) sheet: Sheet,
    pub(crate) help: bool,
    /// The overlay that is open, apart from the help.
    pub(crate) list: Option<List>,
    /// Whether the share dialog is open.
    pub(crate) share: bool,
    /// Whether only the stage and the playback controls are shown, for embedding in another page.
    pub(crate) embedded: bool,
    /// The open part of the fault panel.
    pub(crate) faults: FaultPanel,
    pub(crate) theme: Theme,
    /// Whether the person's system asks for reduced motion.
    pub(crate) calm: bool,
}

impl Default for Ui {
    fn default() -> Self {
        Self {
            stage: Size { width: 800.0, height: 520.0 },
            selection: Selection::default(),
            gesture: Gesture::default(),
            menu: None,
            lanes: LanesUi::default(),
            filter: Filter::default(),
            sheet: Sheet::default(),
            help: false,
            list: None,
            share: false,
            embedded: false,
            faults: FaultPanel::default(),
            theme: Theme::default(),
            calm: false,
        }
    }
}

impl Ui {
    pub(super) fn update(&mut self, action: UiAction) {
        match action {
            UiAction::Select(node) => self.selection = Selection::of(node.into_iter().collect()),
            UiAction::SelectAlso(node) => self.selection.toggle(node),
            UiAction::Pick(message) => {
                let chosen = Selection::Message(message);
                self.selection = if self.selection == chosen { Selection::Nothing } else { chosen };
            }
            UiAction::Column(column) => {
                self.selection = column.map_or(Selection::Nothing, Selection::Entry);
            }
            UiAction::Menu(node) => {
                self.menu = node;
                if let Some(node) = node.filter(|node| !self.selection.servers().contains(node)) {
                    self.selection = Selection::of(vec![node]);
                }
            }
            // The model handles these: it knows the events, and can return effects.
            UiAction::Inspect(_) | UiAction::Reach(_) => {}
            UiAction::Lanes(action) => self.lanes.update(action),
            UiAction::FilterWeight(least) => self.filter.least = least,
            UiAction::FilterServer(node) => {
                if !self.filter.hidden.remove(&node) {
                    self.filter.hidden.insert(node);
                }
            }
            UiAction::Stage(size) => self.stage = size,
            UiAction::Sheet(sheet) => self.sheet = sheet,
            UiAction::Help(open) => self.help = open,
            UiAction::List(list) => self.list = list,
            UiAction::Share(open) => self.share = open,
            UiAction::Embed => self.embedded = true,
            UiAction::FaultPanel(faults) => self.faults = faults,
            UiAction::Calm(calm) => self.calm = calm,
        }
    }
}

/// Changes of the page alone.
#[derive(Clone, Copy, Debug)]
pub(crate) enum UiAction {
    Select(Option<NodeId>),
    /// Adds a server to the selection, or removes it.
    SelectAlso(NodeId),
    /// Selects a message, or deselects it.
    Pick(EventId),
    /// Selects a message and moves the focus to it.
    Reach(EventId),
    /// Opens the menu of a server; `None` closes it.
    Menu(Option<NodeId>),
    Column(Option<LogIndex>),
    /// Explains why this event happened; `None` closes the explanation.
    Inspect(Option<EventId>),
    Lanes(LanesAction),
    FilterWeight(Weight),
    /// Shows or hides the events of a server.
    FilterServer(NodeId),
    Stage(Size),
    Sheet(Sheet),
    Help(bool),
    List(Option<List>),
    Share(bool),
    Embed,
    FaultPanel(FaultPanel),
    Calm(bool),
}

/// The panels of a phone; one is shown at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sheet {
    #[default]
    Act,
    Lesson,
    Log,
    Inspect,
    Store,
    Events,
}

impl Sheet {
    pub(crate) const ALL: [Self; 6] =
        [Self::Lesson, Self::Act, Self::Log, Self::Inspect, Self::Store, Self::Events];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Act => "act",
            Self::Lesson => "lesson",
            Self::Log => "log",
            Self::Inspect => "inspect",
            Self::Store => "store",
            Self::Events => "events",
        }
    }

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Act => "Servers",
            Self::Lesson => "Lesson",
            Self::Log => "Log",
            Self::Inspect => "Chosen",
            Self::Store => "Client",
            Self::Events => "Events",
        }
    }
}

/// The overlays of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Lessons,
    /// The properties that Raft guarantees.
    Promises,
}

/// The parts of the fault panel; one is open at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FaultPanel {
    #[default]
    Server,
    Network,
    Members,
    Rules,
}

impl FaultPanel {
    pub(crate) const ALL: [Self; 4] = [Self::Server, Self::Network, Self::Members, Self::Rules];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Server => "Server",
            Self::Network => "Network",
            Self::Members => "Members",
            Self::Rules => "Rules",
        }
    }
}

/// The colour scheme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Theme {
    Light,
    #[default]
    Dark,
}

impl Theme {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Light => Self::Dark,
            Self::Dark => Self::Light,
        }
    }
}
