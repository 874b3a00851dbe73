//! The caption: what just happened and why, in two sentences for a person who is new to Raft. It is
//! made from each event and the view after it.

mod faults;
mod flood;
mod tell;

use raft_core::event::Event;
use raft_core::types::{NodeId, Time};

use super::cluster::ClusterModel;
use super::playback::Pace;
use flood::Flood;
use tell::tell;

/// A caption, and its rank against the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caption {
    pub(crate) headline: String,
    pub(crate) why: String,
    pub(crate) tone: Tone,
    rank: Rank,
}

/// The mood of a caption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Calm,
    Good,
    Bad,
}

/// A caption replaces a caption of its own or a lower rank at once, and one of a higher rank only
/// later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Shown when nothing else happens.
    Idle,
    Step,
    Turn,
}

/// How long a caption stays before one of a lower rank replaces it, in milliseconds of wall time.
const HOLD_MS: f64 = 3500.0;

/// How long a small step stays in a fast cluster before the next one, in milliseconds of wall time.
const READ_MS: f64 = 700.0;

#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) caption: Caption,
    told_at: Time,
    /// Increments with each caption, so screen readers read each one once.
    pub(crate) number: u64,
    flood: Flood,
}

impl Default for Story {
    fn default() -> Self {
        Self { caption: opening(), told_at: Time(0), number: 0, flood: Flood::default() }
    }
}

impl Story {
    /// Applies an event that `cluster` already contains. `led` is the leader before it.
    pub(crate) fn observe(
        &mut self,
        event: &Event,
        cluster: &ClusterModel,
        led: Option<NodeId>,
        pace: Pace,
    ) {
        let flood = self.flood.observe(event, cluster);
        let told = || if self.flood.drowns(event) { None } else { tell(event, cluster, led) };
        if let Some(caption) = flood.or_else(told) {
            self.offer(caption, event.time, pace);
        }
    }

    /// Shows a caption that does not come from an event.
    pub(crate) fn say(&mut self, tone: Tone, headline: &str, why: String, now: Time) {
        let caption = Caption { tone, rank: Rank::Turn, headline: headline.to_owned(), why };
        if caption != self.caption {
            self.tell(caption, now);
        }
    }

    /// Shows that a live server's events stopped arriving.
    pub(crate) fn out_of_sight(&mut self, node: NodeId, (now, pace): (Time, Pace)) {
        let caption = turn(
            Tone::Bad,
            format!("{node} is unreachable."),
            "The page gets no events from it. It may be down, or only the page cannot reach it. \
             The events of the others show how the cluster reacts.",
        );
        self.offer(caption, now, pace);
    }

    fn offer(&mut self, caption: Caption, now: Time, pace: Pace) {
        let stood = pace.milliseconds(now.since(self.told_at));
        // The small steps of a busy cluster change faster than a person can read.
        let small = caption.rank == Rank::Step && self.caption.rank == Rank::Step;
        if small && pace.is_brisk() && stood < READ_MS {
            return;
        }
        let replaces = caption.rank >= self.caption.rank || stood >= HOLD_MS || self.number == 0;
        if replaces && caption != self.caption {
            self.tell(caption, now);
        }
    }

    fn tell(&mut self, caption: Caption, now: Time) {
        self.caption = caption;
        self.told_at = now;
        self.number += 1;
    }
}

fn opening() -> Caption {
    calm(
        Rank::Idle,
        "There is no leader yet.".to_owned(),
        "Each server waits for a random time, shown as the arc around it. The first server whose \
         timer expires starts an election.",
    )
}

fn calm(rank: Rank, headline: String, why: impl Into<String>) -> Caption {
    Caption { headline, why: why.into(), tone: Tone::Calm, rank }
}

fn turn(tone: Tone, headline: String, why: impl Into<String>) -> Caption {
    Caption { headline, why: why.into(), tone, rank: Rank::Turn }
}

#[cfg(test)]
mod tests {
    use raft_core::event::{CommitReason, EventKind};
    use raft_core::kv::Command;
    use raft_core::log::{Entry, Payload};
    use raft_core::message::MessageName;
    use raft_core::rules::VoteRefusal;
    use raft_core::types::{EventId, LogIndex, Term};

    use super::*;
    use crate::domain::playback::Speed;
    use crate::domain::testing::Script;

    fn told(script: &Script) -> Story {
        told_at(script, Pace::of(Speed::default()))
    }

    fn told_at(script: &Script, pace: Pace) -> Story {
        let (mut cluster, mut story) = (ClusterModel::default(), Story::default());
        for event in script.events() {
            let led = cluster.leader();
            cluster.view.observe(event);
            cluster.widen_roster();
            story.observe(event, &cluster, led, pace);
        }
        story
    }

    /// Guards that the caption of a leader's crash differs from that of a follower's crash.
    #[test]
    fn a_crash_is_told_by_what_it_means() {
        let leader = told(&Script::new(3).leader(1, 1).crash(1)).caption;
        assert_eq!(leader.headline, "S1, the leader, crashed.");
        assert_eq!(leader.tone, Tone::Bad);
        let follower = told(&Script::new(3).leader(1, 1).crash(2)).caption;
        assert!(follower.why.contains("2 of 3 still run"), "{}", follower.why);
        let majority = told(&Script::new(3).leader(1, 1).crash(2).crash(3)).caption;
        assert_eq!(majority.headline, "S3 crashed. 1 of 3 is no majority.");
    }

    /// Guards the caption against flicker: small steps do not immediately replace a turning point.
    #[test]
    fn a_turn_stands_for_a_while_before_small_things_replace_it() {
        let refused = EventKind::VoteRefused {
            candidate: NodeId(2),
            term: Term(1),
            pre: true,
            why: VoteRefusal::LeaderAlive(NodeId(1)),
        };
        let script = Script::new(3).leader(1, 1).wait(1000);
        let early = told(&script.clone().event(3, refused.clone()));
        assert_eq!(early.caption.headline, "S1 leads term 1.");
        // 3.5 s of wall time are 175 ms of the simulation at 1/20 of real time.
        let late = told(&script.wait(175_000).event(3, refused));
        assert_eq!(late.caption.headline, "S3 refuses S2 its vote for term 1.");
    }

    /// Guards the caption of a busy cluster: small steps do not replace each other too fast for
    /// readers and screen readers.
    #[test]
    fn small_steps_of_a_fast_cluster_can_be_read() {
        let refused = |candidate: u64| EventKind::VoteRefused {
            candidate: NodeId(candidate),
            term: Term(1),
            pre: true,
            why: VoteRefusal::LeaderAlive(NodeId(1)),
        };
        let script = Script::new(3).event(3, refused(2)).wait(600_000).event(3, refused(1));
        let told = |script: &Script| told_at(script, Pace::REAL).caption.headline;
        assert_eq!(told(&script), "S3 refuses S2 its vote for term 1.");
        let late = script.wait(200_000).event(3, refused(1));
        assert_eq!(told(&late), "S3 refuses S1 its vote for term 1.");
    }

    /// Guards the caption under a flood: it shows a rate, turning points replace it, and after the
    /// flood each write gets its caption again.
    #[test]
    fn a_flood_is_told_by_how_much_it_is() {
        let mut script = Script::new(3).leader(1, 1);
        let write = |script: Script, index: u64| {
            let payload = Payload::Command(Command::put("x", "1").encode());
            let entry = Entry { index: LogIndex(index), term: Term(1), payload };
            let (from, to) = (LogIndex(index - 1), LogIndex(index));
            let why = CommitReason::Majority(vec![(NodeId(1), to), (NodeId(2), to)]);
            let last = entry.position();
            script
                .event(1, EventKind::EntriesAppended { last, entries: vec![entry].into() })
                .event(1, EventKind::CommitAdvanced { from, to, why })
        };
        let mut told = Vec::new();
        for index in 1..=600 {
            script = write(script, index).wait(10_000);
            if index % 20 == 0 {
                script = script.event(1, EventKind::Summarised { events: 100 });
            }
            told.push(told_at(&script, Pace::REAL).caption.headline);
        }
        let first = told.iter().position(|it| it == "About 100 entries a second are committed.");
        let first = first.expect("it is told");
        assert!((350..450).contains(&first), "{first}");
        assert!(told[25..first].iter().all(|it| *it == told[25]));
        assert!(told[first..].iter().all(|it| *it == told[first]));
        let crashed = told_at(&script.clone().crash(2), Pace::REAL).caption.headline;
        assert_eq!(crashed, "S2 crashed.");
        let later = told_at(&write(script.wait(1_500_000), 601), Pace::REAL).caption.headline;
        assert_eq!(later, "Index 601, “x = 1”, is committed.");
    }

    /// Guards that the caption of a commit names the servers that hold the entry.
    #[test]
    fn a_commit_names_the_majority() {
        let entry = Entry {
            index: LogIndex(1),
            term: Term(1),
            payload: Payload::Command(Command::put("x", "1").encode()),
        };
        let last = entry.position();
        let proof =
            vec![(NodeId(1), LogIndex(1)), (NodeId(2), LogIndex(1)), (NodeId(3), LogIndex(0))];
        let script = Script::new(3)
            .leader(1, 1)
            .event(1, EventKind::EntriesAppended { last, entries: vec![entry].into() });
        assert_eq!(told(&script).caption.headline, "S1 appends “x = 1” at index 1.");
        let caption = told(&script.event(
            1,
            EventKind::CommitAdvanced {
                from: LogIndex(0),
                to: LogIndex(1),
                why: CommitReason::Majority(proof),
            },
        ))
        .caption;
        assert_eq!(caption.headline, "Index 1, “x = 1”, is committed.");
        assert!(caption.why.starts_with("S1 and S2 have it on disk"), "{}", caption.why);
    }

    /// Guards that screen readers do not repeat the same sentence with every heartbeat.
    #[test]
    fn the_same_caption_is_told_once() {
        let message = EventId { node: NodeId(2), seq: 99 };
        let ack = EventKind::MessageReceived { message, name: MessageName::AppendEntriesReply };
        let script = Script::new(3).leader(1, 1).wait(400_000).event(1, ack.clone());
        let once = told(&script);
        assert_eq!(once.caption.headline, "S1 leads, the others follow.");
        let often = told(&script.event(1, ack.clone()).wait(400_000).event(1, ack));
        assert_eq!(once.number, often.number);
    }
}
