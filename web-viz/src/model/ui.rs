//! What concerns the page alone: what is open, chosen and in hand, and how it looks.

use raft_core::types::{EventId, LogIndex, NodeId};

use super::feed::{Filter, Weight};
use super::hand::Hand;
use super::lanes::{LanesAction, LanesUi};
use super::selection::Selection;
use crate::scene::layout::Size;

/// What concerns the page alone.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Ui {
    /// The stage's size.
    pub(crate) stage: Size,
    /// What is chosen, wherever it was chosen.
    pub(crate) selection: Selection,
    /// What a pointer on the stage is about.
    pub(crate) hand: Hand,
    /// The server whose menu is open.
    pub(crate) menu: Option<NodeId>,
    /// The space-time diagram.
    pub(crate) lanes: LanesUi,
    pub(crate) filter: Filter,
    /// What lies below the stage on a phone.
    pub(crate) sheet: Sheet,
    pub(crate) help: bool,
    /// The list that is open, beside the help.
    pub(crate) list: Option<List>,
    /// Whether the dialog to share and save is open.
    pub(crate) share: bool,
    /// Stage and transport alone, for another page to frame.
    pub(crate) embedded: bool,
    /// The part of the tray that is open.
    pub(crate) tray: Tray,
    pub(crate) theme: Theme,
    /// The person asked their system for less motion.
    pub(crate) calm: bool,
}

impl Default for Ui {
    fn default() -> Self {
        Self {
            stage: Size { width: 800.0, height: 520.0 },
            selection: Selection::default(),
            hand: Hand::default(),
            menu: None,
            lanes: LanesUi::default(),
            filter: Filter::default(),
            sheet: Sheet::default(),
            help: false,
            list: None,
            share: false,
            embedded: false,
            tray: Tray::default(),
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
            // The model answers, which knows the events and the world outside.
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
            UiAction::Tray(tray) => self.tray = tray,
            UiAction::Calm(calm) => self.calm = calm,
        }
    }
}

/// What changes the page alone.
#[derive(Clone, Copy, Debug)]
pub(crate) enum UiAction {
    Select(Option<NodeId>),
    /// Adds a server to those that are chosen, or takes it out again.
    SelectAlso(NodeId),
    /// Chooses a message; the same again lets go.
    Pick(EventId),
    /// Chooses a message and puts the focus on it.
    Reach(EventId),
    /// Opens the menu of a server.
    Menu(Option<NodeId>),
    Column(Option<LogIndex>),
    /// Why this event happened; `None` closes the answer.
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
    Tray(Tray),
    Calm(bool),
}

/// The panels that take turns on a phone.
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

/// What opens over the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Lessons,
    /// What Raft promises.
    Promises,
}

/// The parts of the tray of what one can do, which take turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tray {
    #[default]
    Server,
    Network,
    Members,
    Rules,
}

impl Tray {
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

/// Colours.
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
