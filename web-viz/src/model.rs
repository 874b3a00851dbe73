//! The state of the page, and how an action changes it. It is pure: what must happen outside (in
//! the simulation, in a live cluster, in the browser) is returned as effects.

mod actions;
mod compare;
pub(crate) mod course;
mod effect;
pub(crate) mod facts;
pub(crate) mod gesture;
mod history;
pub(crate) mod live;
pub(crate) mod reading;
pub(crate) mod share;
mod study;
mod ui;
pub(crate) mod update;

use std::collections::BTreeSet;
use std::rc::Rc;

use raft_core::event::{Event, EventKind};
use raft_core::invariant::Violation;
use raft_core::rules::Mutation;
use raft_core::sim::{BranchId, Moment};
use raft_core::types::{Micros, NodeId, RequestId};

use crate::address::Place;
use crate::domain::actions::ClusterAction;
use crate::domain::actions::conditions::Conditions;
use crate::domain::clients::Clients;
use crate::domain::cluster::ClusterModel;
use crate::domain::compare::Comparison;
use crate::domain::failover::LeaderHistory;
use crate::domain::feed::Feed;
use crate::domain::form::{ClientForm, Op};
use crate::domain::history::{History, Jump};
use crate::domain::playback::{Pace, Playback, Speed};
use crate::domain::run::SourceKind;
use crate::domain::run::{Happened, Landed, SimSetup};
use crate::domain::selection::Selection;
use crate::domain::story::Story;
use crate::link::Recall;
use crate::model::course::Course;
pub(crate) use crate::model::effect::{Effect, Save, SimEffect};
use crate::model::facts::Facts;
use crate::model::gesture::{Gesture, GestureAction};
use crate::model::live::{Live, Report};
use crate::model::reading::Reading;
pub(crate) use crate::model::ui::{FaultPanel, List, Sheet, Theme, Ui, UiAction};
use crate::shared::Shared;

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) source: SourceKind,
    pub(crate) setup: SimSetup,
    /// How the simulated network, disks and clocks behave.
    pub(crate) conditions: Shared<Conditions>,
    pub(crate) live: Live,
    pub(crate) playback: Playback,
    /// The run that is shown, and its branches.
    pub(crate) history: History,
    /// The contents of a link to the shown moment, as of the last pause or action.
    pub(crate) link: Option<Rc<Recall>>,
    /// Two branches that are shown side by side.
    pub(crate) comparison: Option<Comparison>,
    pub(crate) cluster: Shared<ClusterModel>,
    pub(crate) feed: Shared<Feed>,
    /// The part of the state that is shown as text.
    pub(crate) reading: Reading,
    pub(crate) story: Story,
    pub(crate) leaders: LeaderHistory,
    pub(crate) form: Shared<ClientForm>,
    /// The requests of all clients of the simulation, and the answers.
    pub(crate) clients: Shared<Clients>,
    /// Raft properties that the simulation saw violated, oldest first.
    pub(crate) violations: Vec<Violation>,
    /// The first violation of this run, also while an earlier moment is shown.
    pub(crate) breach: Option<Violation>,
    /// The digest of the simulated run up to the shown moment.
    pub(crate) digest: u64,
    /// The lesson that is open.
    pub(crate) course: Option<Shared<Course>>,
    pub(crate) ui: Ui,
    /// The facts about the selection.
    pub(crate) inspected: Facts,
    /// Wall time that passed while the clock ran, in milliseconds.
    wall: f64,
    pub(crate) notice: Option<Notice>,
}

/// A message to the person, for example why something did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) words: String,
}

/// The inputs of [`Model::update`].
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// The browser is about to draw a frame.
    Frame {
        /// Milliseconds since the previous frame.
        elapsed: f64,
        /// Microseconds since 1970, by the page's clock.
        wall: Micros,
    },
    /// Open what the address names.
    Open(Place),
    TogglePlay,
    Step,
    Jump(Jump),
    Speed(Speed),
    Source(SourceKind),
    /// Start a new simulated run.
    Simulate(SimSetup),
    /// Run the same setup again.
    Again,
    SeedTyped(String),
    /// Repeat the same run with this rule broken, or with all rules kept.
    Break(Option<Mutation>),
    Cluster(ClusterAction),
    Lesson(LessonAction),
    /// A pointer action on the stage.
    Gesture(GestureAction),
    Ui(UiAction),
    ClientForm(FormAction),
    /// Send the request of the client form.
    Submit,
    /// Write the form's key, and read it from every server at the same time.
    Burst,
    /// The simulation accepted a request and assigned an ID to it.
    Asked(u64, RequestId),
    /// A request got an answer that is not an event.
    Answered(u64, crate::domain::form::AskState),
    /// The simulation ran.
    Happened(Happened),
    /// The simulation jumped to another moment.
    Landed(Box<Landed>),
    /// The contents of a link to the shown moment.
    Linked(Rc<Recall>),
    /// A recording of a live cluster now begins here: it dropped older events.
    Forgotten(Moment),
    /// Compare two branches. `None` compares the current branch with its neighbour.
    Compare(Option<(BranchId, BranchId)>),
    Compared(Box<Comparison>),
    Uncompare,
    Save(Save),
    SaveTrace,
    /// Show the trace in this text.
    Load(String),
    /// A recording is about to be shown.
    Replaying,
    /// The text of a trace to save.
    Traced(String),
    Copy(String),
    Live(Report),
    ClusterTyped(String),
    TokenTyped(String),
    /// Filter the event list by this text.
    Search(String),
    ClusterConnect,
    Theme(Theme),
    Notice(String),
    Dismiss,
}

/// Actions on a lesson.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LessonAction {
    /// Open the lesson with this index.
    Open(usize),
    Page(usize),
    Next,
    Back,
    /// Play the current page again.
    Again,
    /// A part that the lesson does not have. It does nothing.
    Stay,
    Choose(usize),
    /// Leave the lesson, but keep its cluster.
    Alone,
    Leave,
}

/// Changes of the client form.
#[derive(Clone, Debug)]
pub(crate) enum FormAction {
    Op(Op),
    Key(String),
    Value(String),
    Target(Option<NodeId>),
}

impl Default for Model {
    fn default() -> Self {
        Self {
            source: SourceKind::Simulate,
            setup: SimSetup::default(),
            conditions: Shared::default(),
            live: Live::default(),
            playback: Playback::default(),
            history: History::default(),
            link: None,
            comparison: None,
            cluster: Shared::new(ClusterModel::default()),
            feed: Shared::new(Feed::default()),
            reading: Reading::default(),
            story: Story::default(),
            leaders: LeaderHistory::default(),
            form: Shared::new(ClientForm::default()),
            clients: Shared::default(),
            violations: Vec::new(),
            breach: None,
            digest: 0,
            course: None,
            ui: Ui::default(),
            inspected: Facts::default(),
            wall: 0.0,
            notice: None,
        }
    }
}

impl Model {
    /// How source time relates to wall time.
    pub(crate) fn pace(&self) -> Pace {
        match self.source {
            SourceKind::Live if !self.in_the_past() => Pace::REAL,
            SourceKind::Simulate | SourceKind::Replay | SourceKind::Live => {
                Pace::of(self.playback.speed)
            }
        }
    }

    /// Whether the next frame will differ from this one.
    pub(crate) const fn moves(&self) -> bool {
        match self.source {
            SourceKind::Simulate => self.playback.playing,
            SourceKind::Replay => self.playback.playing && !self.history.run.at_end,
            // The cluster runs on, whatever moment is shown.
            SourceKind::Live => self.live.watches(),
        }
    }

    /// Whether the shown moment moves on by itself.
    pub(crate) const fn plays(&self) -> bool {
        self.playback.playing && self.moves()
    }

    /// The rule that is broken in the shown run.
    pub(crate) fn broken_rule(&self) -> Option<Mutation> {
        let simulated = self.source == SourceKind::Simulate;
        self.setup.config().mutation.filter(|_| simulated)
    }

    /// Discards everything about the cluster that was shown.
    fn clear(&mut self, roster: BTreeSet<NodeId>) {
        self.live.forget_edge();
        self.cluster = Shared::new(ClusterModel { roster, ..ClusterModel::default() });
        self.feed = Shared::new(Feed::default());
        self.story = Story::default();
        self.leaders = LeaderHistory::default();
        self.history = History::default();
        self.link = None;
        self.comparison = None;
        self.form.change().asks.clear();
        self.clients = Shared::default();
        self.violations.clear();
        self.breach = None;
        self.ui.selection = Selection::Nothing;
        self.ui.gesture = Gesture::Free;
        self.ui.menu = None;
        self.notice = None;
    }

    /// Applies one new event to every part of the state that reports it.
    fn observe(&mut self, event: Event) -> Option<Effect> {
        let pace = self.pace();
        let cluster = self.cluster.change();
        let led = cluster.leader();
        cluster.view.observe(&event);
        if matches!(event.kind, EventKind::Started(_) | EventKind::Attached(_)) {
            cluster.widen_roster();
        }
        if self.source == SourceKind::Simulate && may_retire(&event.kind) {
            cluster.drop_retired();
        }
        self.history.record(&event, cluster, self.playback.now);
        self.leaders.observe(&event, cluster);
        self.story.observe(&event, cluster, led, pace);
        let again = match self.source {
            SourceKind::Simulate => self.form.change().observe(&event, cluster),
            SourceKind::Live | SourceKind::Replay => None,
        };
        self.enlist(event);
        again.map(|ask| Effect::Sim(SimEffect::Ask(ask)))
    }

    /// Adds an event that the view already contains to the event list.
    fn enlist(&mut self, event: Event) {
        let heeded = if let EventKind::MessageSent(message) = &event.kind {
            self.cluster.presence(message.to).runs()
        } else {
            true
        };
        self.feed.change().push(event, heeded);
    }
}

/// Whether this event can mean that a server has left the cluster for good.
const fn may_retire(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Started(_) | EventKind::Crashed | EventKind::ConfigurationCommitted { .. }
    )
}
