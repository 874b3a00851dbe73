//! Shows the past of a live cluster, which runs on. Meanwhile the latest state is kept aside and
//! still receives events. So the tape grows, and the return to the present is fast.

use raft_core::event::Event;
use raft_core::sim::Moment;
use raft_core::types::{Micros, Time};

use super::{DELAY, Live, Phase};
use crate::domain::cluster::ClusterModel;
use crate::domain::failover::LeaderHistory;
use crate::domain::feed::Feed;
use crate::domain::history::Jump;
use crate::domain::run::SourceKind;
use crate::domain::run::{Happened, Landed};
use crate::domain::story::Story;
use crate::model::{Effect, Model, Notice, SimEffect};
use crate::shared::Shared;

/// The maximum number of events per frame, which a slow machine can process. Above it the picture
/// falls behind, and the page shows the lag.
const MOST_AT_ONCE: usize = 2_000;

/// The latest state, while an earlier moment is shown. While the latest state receives events, this
/// holds the earlier moment.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    cluster: Shared<ClusterModel>,
    feed: Shared<Feed>,
    story: Story,
    leaders: LeaderHistory,
    now: Time,
    at_end: bool,
}

impl Live {
    pub(in crate::model) fn forget_edge(&mut self) {
        self.edge = None;
    }
}

impl Model {
    /// The cluster as it is now, whatever moment is shown. Actions apply to it.
    pub(crate) fn present(&self) -> &ClusterModel {
        // Only for a live cluster can the present be later than the shown moment.
        self.live.edge.as_ref().map_or(&*self.cluster, |edge| &*edge.cluster)
    }

    /// Whether a live cluster is shown as it is now.
    pub(in crate::model) const fn at_live_edge(&self) -> bool {
        matches!(self.source, SourceKind::Live) && self.live.edge.is_none()
    }

    /// How far the picture is behind a live cluster.
    pub(crate) fn lag(&self) -> Option<Micros> {
        let watching = self.source == SourceKind::Live && self.live.phase == Phase::Watching;
        let lag = self.live.wall.saturating_sub(self.playback.now.0);
        (watching && self.live.wall > 0).then_some(lag)
    }

    /// How many events of a live cluster its servers or the page left out to keep up.
    pub(crate) fn left_out(&self) -> u64 {
        let by_servers: u64 = self.present().view.nodes.values().map(|it| it.summarised).sum();
        by_servers + self.live.merge.left_out()
    }

    /// Runs `act` on the latest state, whatever moment is shown.
    pub(super) fn at_edge<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        self.swap_edge();
        let result = act(self);
        self.swap_edge();
        result
    }

    fn swap_edge(&mut self) {
        let Some(edge) = &mut self.live.edge else { return };
        std::mem::swap(&mut edge.cluster, &mut self.cluster);
        std::mem::swap(&mut edge.feed, &mut self.feed);
        std::mem::swap(&mut edge.story, &mut self.story);
        std::mem::swap(&mut edge.leaders, &mut self.leaders);
        std::mem::swap(&mut edge.now, &mut self.playback.now);
        std::mem::swap(&mut edge.at_end, &mut self.history.run.at_end);
    }

    /// Handles a frame: applies new events, and advances the earlier moment if it plays.
    pub(in crate::model) fn watch(&mut self, elapsed: f64, wall: Micros) -> Vec<Effect> {
        let mut effects = self.at_edge(|model| model.catch_up(wall));
        if self.in_the_past() && self.playback.playing {
            let target = self.playback.target(elapsed);
            effects.push(Effect::Sim(SimEffect::Advance(target)));
        }
        effects
    }

    /// Applies the events up to [`DELAY`] ago.
    pub(super) fn catch_up(&mut self, wall: Micros) -> Vec<Effect> {
        self.live.wall = wall;
        if std::mem::take(&mut self.live.overflowed) {
            return vec![self.connect()];
        }
        let (from, until) = (self.playback.now, Time(wall.saturating_sub(DELAY)));
        let pop = || self.live.merge.pop(until, wall);
        let events: Vec<Event> = std::iter::from_fn(pop).take(MOST_AT_ONCE).collect();
        let waiting = self.live.merge.next_time().filter(|_| events.len() == MOST_AT_ONCE);
        self.playback.now = waiting.map_or(until, |time| time.min(until)).max(from);
        for event in &events {
            self.take_in(event.clone(), from);
        }
        self.note_absences(wall);
        self.live.sights.note(&self.cluster, self.playback.now);
        if self.cluster.view.events > 0 {
            let (happened, time) = (self.cluster.view.events, self.playback.now);
            self.history.reach(Moment { happened, time });
        }
        vec![Effect::Sim(SimEffect::Record(events, self.playback.now))]
    }

    /// Stops at the present moment, which becomes the past.
    pub(in crate::model) fn hold(&mut self) -> Vec<Effect> {
        self.playback.playing = false;
        vec![Effect::Sim(SimEffect::Jump(Jump::Time(self.playback.now)))]
    }

    /// Jumps to another moment that is kept of the cluster.
    pub(in crate::model) fn travel(&mut self, jump: Jump) -> Vec<Effect> {
        let here = self.at_live_edge().then_some(Jump::Time(self.playback.now));
        let end = self.live.edge.as_ref().map_or(self.playback.now, |edge| edge.now);
        match jump {
            Jump::End => {
                self.return_to_edge();
                return Vec::new();
            }
            Jump::Time(time) if time >= end => {
                self.return_to_edge();
                return Vec::new();
            }
            Jump::Undo => {
                let words = "Actions on real servers can be mended, not undone.";
                self.notice = Some(Notice { words: words.to_owned() });
                return Vec::new();
            }
            Jump::Time(_) | Jump::Back | Jump::Branch(..) => {}
        }
        self.playback.playing = false;
        // `Back` needs a moment in the recording to go back from.
        let here = here.filter(|_| jump == Jump::Back);
        here.into_iter().chain([jump]).map(|jump| Effect::Sim(SimEffect::Jump(jump))).collect()
    }

    fn return_to_edge(&mut self) {
        self.swap_edge();
        self.live.forget_edge();
        self.playback.playing = true;
        self.notice = None;
    }

    /// Handles progress of the past that plays.
    pub(in crate::model) fn relive(&mut self, happened: Happened) {
        if self.live.edge.is_none() {
            return;
        }
        if happened.run.at_end && self.playback.playing {
            self.return_to_edge();
            return;
        }
        let from = self.playback.now;
        self.playback.now = happened.now;
        for event in happened.events {
            self.take_in(event, from);
        }
        self.recite_live();
    }

    /// Shows an earlier moment.
    pub(in crate::model) fn revisit(&mut self, landed: Landed) {
        let Landed { view, happened } = landed;
        let edge = self.live.edge.get_or_insert_with(|| {
            Box::new(Edge {
                cluster: self.cluster.clone(),
                feed: self.feed.clone(),
                story: self.story.clone(),
                leaders: self.leaders.clone(),
                now: self.playback.now,
                at_end: true,
            })
        });
        let first = view.events.saturating_sub(happened.events.len() as u64);
        self.feed = Shared::new(edge.feed.until(first));
        self.cluster = Shared::new(ClusterModel { view, ..ClusterModel::default() });
        self.playback.jump(happened.now);
        self.history.run.at_end = false;
        self.notice = None;
        for event in happened.events {
            self.enlist(event);
        }
        self.recite_live();
        self.ui.selection.retain(&self.cluster.roster);
    }

    /// Restores what the page said at the shown moment, and which servers were unreachable then.
    fn recite_live(&mut self) {
        self.recite();
        self.live.sights.recall(self.cluster.change(), self.playback.now);
    }
}
