//! Everything that the page knows, and how an action changes it. Pure: what must happen outside
//! (in the simulation, in a live cluster, in the browser) is returned as effects.

pub(crate) mod clients;
pub(crate) mod compare;
pub(crate) mod course;
pub(crate) mod deeds;
pub(crate) mod desk;
mod effect;
pub(crate) mod facts;
pub(crate) mod failover;
pub(crate) mod feed;
pub(crate) mod hand;
pub(crate) mod history;
pub(crate) mod known;
pub(crate) mod lanes;
pub(crate) mod lessons;
pub(crate) mod live;
pub(crate) mod playback;
pub(crate) mod promises;
pub(crate) mod reading;
pub(crate) mod rules;
pub(crate) mod selection;
pub(crate) mod share;
pub(crate) mod story;
mod study;
pub(crate) mod tape;
#[cfg(test)]
pub(crate) mod testing;
mod ui;
pub(crate) mod update;
pub(crate) mod why;

use std::collections::BTreeSet;
use std::rc::Rc;

use raft_core::event::{Event, EventKind};
use raft_core::invariant::Violation;
use raft_core::rules::Mutation;
use raft_core::sim::{BranchId, Moment};
use raft_core::types::{Micros, NodeId, RequestId};

use crate::address::Place;
use crate::link::Recall;
use crate::model::clients::Clients;
use crate::model::compare::Comparison;
use crate::model::course::Course;
use crate::model::deeds::Deed;
use crate::model::deeds::conditions::Conditions;
use crate::model::desk::{Desk, Op};
pub(crate) use crate::model::effect::{Effect, Save, SimEffect};
use crate::model::facts::Facts;
use crate::model::failover::Reign;
use crate::model::feed::Feed;
use crate::model::hand::{Hand, HandAction};
use crate::model::history::{History, Jump};
use crate::model::known::Known;
use crate::model::live::{Live, Report};
use crate::model::playback::{Pace, Playback, Speed};
use crate::model::reading::Reading;
use crate::model::selection::Selection;
use crate::model::story::Story;
pub(crate) use crate::model::ui::{List, Sheet, Theme, Tray, Ui, UiAction};
use crate::shared::Shared;
use crate::source::SourceKind;
use crate::source::sim::{Happened, Landed, SimSetup};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) source: SourceKind,
    pub(crate) setup: SimSetup,
    /// How network, disks and clocks of the simulation behave.
    pub(crate) conditions: Shared<Conditions>,
    pub(crate) live: Live,
    pub(crate) playback: Playback,
    /// The run that the playback is in.
    pub(crate) history: History,
    /// What a link to the shown moment tells, as of the latest pause or deed.
    pub(crate) link: Option<Rc<Recall>>,
    /// Two branches that are shown side by side.
    pub(crate) comparison: Option<Comparison>,
    pub(crate) known: Shared<Known>,
    pub(crate) feed: Shared<Feed>,
    /// What of this is shown as text.
    pub(crate) reading: Reading,
    pub(crate) story: Story,
    pub(crate) reign: Reign,
    pub(crate) desk: Shared<Desk>,
    /// What all clients of the simulation asked and got.
    pub(crate) clients: Shared<Clients>,
    /// Properties of Raft that the simulation saw broken, first to last.
    pub(crate) violations: Vec<Violation>,
    /// The first of this run, also while an earlier moment is shown.
    pub(crate) breach: Option<Violation>,
    /// Stands for the whole simulated run so far.
    pub(crate) digest: u64,
    /// The lesson that is open.
    pub(crate) course: Option<Shared<Course>>,
    pub(crate) ui: Ui,
    /// The facts of what is chosen.
    pub(crate) inspected: Facts,
    /// Milliseconds that passed on the wall while the clock ran.
    wall: f64,
    pub(crate) notice: Option<Notice>,
}

/// Something that the person at the page should know: why something did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) words: String,
}

/// What can happen to the model.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// The browser will draw a frame.
    Frame {
        /// Milliseconds since the one before.
        elapsed: f64,
        /// Microseconds since 1970, by the page's clock.
        wall: Micros,
    },
    /// The address says what to show.
    Open(Place),
    TogglePlay,
    Step,
    Jump(Jump),
    Speed(Speed),
    Source(SourceKind),
    /// A new run of the simulation.
    Simulate(SimSetup),
    /// The same seed again.
    Again,
    SeedTyped(String),
    /// The same run with this rule broken, or with all kept.
    Break(Option<Mutation>),
    Deed(Deed),
    Lesson(LessonAction),
    /// A pointer on the stage.
    Hand(HandAction),
    Ui(UiAction),
    Desk(DeskAction),
    /// Send the desk's question.
    Submit,
    /// Write the desk's key, and read it from every server at the same time.
    Burst,
    /// The simulation took a question and gave it a number.
    Asked(u64, RequestId),
    /// A question was answered, but not by an event.
    Answered(u64, desk::AskState),
    /// The simulation ran.
    Happened(Happened),
    /// The simulation was put somewhere else.
    Landed(Box<Landed>),
    /// What a link to the shown moment tells.
    Linked(Rc<Recall>),
    /// What is kept of a live cluster begins here from now on.
    Forgotten(Moment),
    /// Put two branches side by side; `None` for the current one and its neighbour.
    Compare(Option<(BranchId, BranchId)>),
    Compared(Box<Comparison>),
    Uncompare,
    Save(Save),
    SaveTrace,
    /// Show the trace that this text is.
    Load(String),
    /// A recording is about to be shown.
    Replaying,
    /// The text of a trace that is to be saved.
    Traced(String),
    Copy(String),
    Live(Report),
    ClusterTyped(String),
    TokenTyped(String),
    /// What the lines of the event list must say.
    Search(String),
    ClusterConnect,
    Theme(Theme),
    Notice(String),
    Dismiss,
}

/// What concerns a lesson.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LessonAction {
    /// Begin the lesson of this place among all.
    Open(usize),
    Page(usize),
    Next,
    Back,
    /// Play the shown page again.
    Again,
    /// A part that the lesson does not have.
    Stay,
    Choose(usize),
    /// Go on without the lesson, in its cluster.
    Alone,
    Leave,
}

/// What changes the desk's form.
#[derive(Clone, Debug)]
pub(crate) enum DeskAction {
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
            known: Shared::new(Known::default()),
            feed: Shared::new(Feed::default()),
            reading: Reading::default(),
            story: Story::default(),
            reign: Reign::default(),
            desk: Shared::new(Desk::default()),
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
    /// How source time relates to the wall.
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
            // The cluster goes on, whatever is shown of it.
            SourceKind::Live => self.live.watches(),
        }
    }

    /// Whether what is shown goes on.
    pub(crate) const fn plays(&self) -> bool {
        self.playback.playing && self.moves()
    }

    /// The rule that is broken in what is shown.
    pub(crate) fn broken_rule(&self) -> Option<Mutation> {
        let simulated = self.source == SourceKind::Simulate;
        self.setup.config().mutation.filter(|_| simulated)
    }

    /// Forgets the cluster that was shown.
    fn clear(&mut self, roster: BTreeSet<NodeId>) {
        self.live.forget_edge();
        self.known = Shared::new(Known { roster, ..Known::default() });
        self.feed = Shared::new(Feed::default());
        self.story = Story::default();
        self.reign = Reign::default();
        self.history = History::default();
        self.link = None;
        self.comparison = None;
        self.desk.change().asks.clear();
        self.clients = Shared::default();
        self.violations.clear();
        self.breach = None;
        self.ui.selection = Selection::Nothing;
        self.ui.hand = Hand::Free;
        self.ui.menu = None;
        self.notice = None;
    }

    /// Takes in one event, in all places that tell of it.
    fn observe(&mut self, event: Event) -> Option<Effect> {
        let pace = self.pace();
        let known = self.known.change();
        let led = known.leader();
        known.view.observe(&event);
        if matches!(event.kind, EventKind::Started(_) | EventKind::Attached(_)) {
            known.widen_roster();
        }
        if self.source == SourceKind::Simulate && may_retire(&event.kind) {
            known.drop_retired();
        }
        self.history.record(&event, known, self.playback.now);
        self.reign.observe(&event, known);
        self.story.observe(&event, known, led, pace);
        let again = match self.source {
            SourceKind::Simulate => self.desk.change().observe(&event, known),
            SourceKind::Live | SourceKind::Replay => None,
        };
        self.enlist(event);
        again.map(|ask| Effect::Sim(SimEffect::Ask(ask)))
    }

    /// Adds an event that is known already to the list.
    fn enlist(&mut self, event: Event) {
        let heeded = if let EventKind::MessageSent(message) = &event.kind {
            self.known.presence(message.to).runs()
        } else {
            true
        };
        self.feed.change().push(event, heeded);
    }
}

/// Whether a server may have left the cluster for good by this.
const fn may_retire(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Started(_) | EventKind::Crashed | EventKind::ConfigurationCommitted { .. }
    )
}
