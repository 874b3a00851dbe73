//! Faults of links between servers, and between clients and servers.

use std::time::Duration;

use super::Field;
use super::field::between;
use crate::network::CLIENTS;

/// A fault of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// All links between servers have low bandwidth, or a long delay.
    Narrow,
    Lengthen,
    /// Packets are lost between two servers (both ways or one way), between the leader and all
    /// others, or between clients and servers.
    Silence,
    SilenceOneWay,
    SilenceLeader,
    SilenceClients,
    /// All connections carry nothing any more and do not end.
    Forget,
    /// A server's connections to others end only at the others.
    HalfOpen,
}

impl Change {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Narrow => "narrow links, 1 to 10 Mbit/s",
            Self::Lengthen => "long links, 20 to 100 ms",
            Self::Silence => "a link falls silent",
            Self::SilenceOneWay => "a link falls silent one way",
            Self::SilenceLeader => "the leader's links fall silent",
            Self::SilenceClients => "clients' links fall silent",
            Self::Forget => "connections are forgotten",
            Self::HalfOpen => "half-open connections between servers",
        }
    }

    /// Runs the fault from its start to its end.
    pub(super) async fn perform(
        self,
        field: &mut Field<'_>,
        [some, other, leader]: [usize; 3],
        time: Duration,
    ) {
        let others = |end| field.cluster.ids().filter(move |id| *id != end).collect::<Vec<usize>>();
        let silent = match self {
            Self::Narrow | Self::Lengthen | Self::Forget | Self::HalfOpen => Vec::new(),
            Self::Silence => vec![(some, other), (other, some)],
            Self::SilenceOneWay => vec![(some, other)],
            Self::SilenceLeader => both_ways(leader, &others(leader)),
            Self::SilenceClients => both_ways(CLIENTS, &others(CLIENTS)),
        };
        for (from, to) in silent {
            field.network.change(from, to, |now| now.silent = true);
        }
        if self == Self::Forget {
            field.network.forget_connections();
        }
        if self == Self::HalfOpen {
            for to in others(some) {
                field.network.half_open(some, to);
            }
        }
        if matches!(self, Self::Narrow | Self::Lengthen) {
            let servers = |(from, to): &(usize, usize)| ![*from, *to].contains(&CLIENTS);
            for (from, to) in field.network.pairs().filter(servers) {
                let mbit = between(field.rng, 1.0, 10.0);
                let delay = Duration::from_secs_f64(between(field.rng, 0.02, 0.1));
                field.network.change(from, to, |now| {
                    if self == Self::Narrow {
                        now.mbit = mbit;
                    } else {
                        now.delay = delay;
                    }
                });
            }
        }
        field.watch(time).await;
        field.base.restore(field.network);
    }
}

fn both_ways(end: usize, others: &[usize]) -> Vec<(usize, usize)> {
    others.iter().flat_map(|other| [(end, *other), (*other, end)]).collect()
}
