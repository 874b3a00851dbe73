//! Going about in the past of a live cluster, which runs on. What is shown of the present is kept
//! aside meanwhile and goes on taking in what comes, so that the tape grows and the way back to the
//! present is short.

use raft_core::event::Event;
use raft_core::sim::Moment;
use raft_core::types::{Micros, Time};

use super::{DELAY, Live, Phase};
use crate::model::failover::Reign;
use crate::model::feed::Feed;
use crate::model::history::Jump;
use crate::model::known::Known;
use crate::model::story::Story;
use crate::model::{Effect, Model, Notice, SimEffect};
use crate::shared::Shared;
use crate::source::SourceKind;
use crate::source::sim::{Happened, Landed};

/// Events that are taken in for one frame at most: what a slow machine can bear. Then the picture
/// falls behind, which is told.
const MOST_AT_ONCE: usize = 2_000;

/// The present while an earlier moment is shown; the other way round while the present takes in what
/// comes.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    known: Shared<Known>,
    feed: Shared<Feed>,
    story: Story,
    reign: Reign,
    now: Time,
    at_end: bool,
}

impl Live {
    pub(in crate::model) fn forget_edge(&mut self) {
        self.edge = None;
    }
}

impl Model {
    /// The cluster as it is now, whatever moment is shown: what is done is done to it.
    pub(crate) fn present(&self) -> &Known {
        // Of others than a live cluster there is nothing later than what is shown.
        self.live.edge.as_ref().map_or(&*self.known, |edge| &*edge.known)
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

    /// Events of a live cluster that were left out, by its servers or by the page, to keep up.
    pub(crate) fn left_out(&self) -> u64 {
        let by_servers: u64 = self.present().view.nodes.values().map(|it| it.summarised).sum();
        by_servers + self.live.merge.left_out()
    }

    /// Does something to the present, whatever moment is shown.
    pub(super) fn at_edge<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        self.swap_edge();
        let result = act(self);
        self.swap_edge();
        result
    }

    fn swap_edge(&mut self) {
        let Some(edge) = &mut self.live.edge else { return };
        std::mem::swap(&mut edge.known, &mut self.known);
        std::mem::swap(&mut edge.feed, &mut self.feed);
        std::mem::swap(&mut edge.story, &mut self.story);
        std::mem::swap(&mut edge.reign, &mut self.reign);
        std::mem::swap(&mut edge.now, &mut self.playback.now);
        std::mem::swap(&mut edge.at_end, &mut self.history.run.at_end);
    }

    /// A frame: takes in what came, and lets an earlier moment that is shown go on.
    pub(in crate::model) fn watch(&mut self, elapsed: f64, wall: Micros) -> Vec<Effect> {
        let mut effects = self.at_edge(|model| model.catch_up(wall));
        if self.in_the_past() && self.playback.playing {
            let target = self.playback.target(elapsed);
            effects.push(Effect::Sim(SimEffect::Advance(target)));
        }
        effects
    }

    /// Takes in what happened up to a moment ago.
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
        self.live.sights.note(&self.known, self.playback.now);
        if self.known.view.events > 0 {
            let (happened, time) = (self.known.view.events, self.playback.now);
            self.history.reach(Moment { happened, time });
        }
        vec![Effect::Sim(SimEffect::Record(events, self.playback.now))]
    }

    /// Holds the present moment, which becomes the past.
    pub(in crate::model) fn hold(&mut self) -> Vec<Effect> {
        self.playback.playing = false;
        vec![Effect::Sim(SimEffect::Jump(Jump::Time(self.playback.now)))]
    }

    /// Goes elsewhere in what is kept of the cluster.
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
                let words = "What is done to real servers is done: it can be mended, not undone.";
                self.notice = Some(Notice { words: words.to_owned() });
                return Vec::new();
            }
            Jump::Time(_) | Jump::Back | Jump::Branch(..) => {}
        }
        self.playback.playing = false;
        // Where one goes back from there must be a place to go back from.
        let here = here.filter(|_| jump == Jump::Back);
        here.into_iter().chain([jump]).map(|jump| Effect::Sim(SimEffect::Jump(jump))).collect()
    }

    fn return_to_edge(&mut self) {
        self.swap_edge();
        self.live.forget_edge();
        self.playback.playing = true;
        self.notice = None;
    }

    /// What is shown of the past went on.
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

    /// An earlier moment is to be shown.
    pub(in crate::model) fn revisit(&mut self, landed: Landed) {
        let Landed { view, happened } = landed;
        let edge = self.live.edge.get_or_insert_with(|| {
            Box::new(Edge {
                known: self.known.clone(),
                feed: self.feed.clone(),
                story: self.story.clone(),
                reign: self.reign.clone(),
                now: self.playback.now,
                at_end: true,
            })
        });
        let first = view.events.saturating_sub(happened.events.len() as u64);
        self.feed = Shared::new(edge.feed.until(first));
        self.known = Shared::new(Known { view, ..Known::default() });
        self.playback.jump(happened.now);
        self.history.run.at_end = false;
        self.notice = None;
        for event in happened.events {
            self.enlist(event);
        }
        self.recite_live();
        self.ui.selection.retain(&self.known.roster);
    }

    /// Says again what the page said at the moment that is shown, and who was out of sight then.
    fn recite_live(&mut self) {
        self.recite();
        self.live.sights.recall(self.known.change(), self.playback.now);
    }
}
