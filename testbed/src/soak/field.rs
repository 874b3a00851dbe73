//! The objects that faults act on.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

use super::figures::Figures;
use crate::cluster::Cluster;
use crate::faults::Plan;
use crate::load::Load;
use crate::network::{Network, Quality};

/// Interval between two looks at the servers' resource usage.
const GLANCE: Duration = Duration::from_millis(250);

/// Cluster, network and judged clients for a fault.
pub(super) struct Field<'a> {
    pub(super) cluster: &'a mut Cluster,
    pub(super) network: &'a Network,
    pub(super) rng: &'a mut Rng,
    pub(super) base: &'a Base,
    /// The judged clients.
    pub(super) load: &'a Load,
    /// The API token that servers require.
    pub(super) token: &'a str,
    pub(super) figures: Figures,
}

impl Field<'_> {
    /// Waits for `time` and records the servers' resource usage meanwhile.
    pub(super) async fn watch(&mut self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            self.figures.look(self.cluster);
            let step = left.min(GLANCE);
            sleep(step).await;
            left -= step;
        }
    }
}

/// Faults that last for a whole window.
#[derive(Debug, Default)]
pub(super) struct Base {
    /// Faults of messages between servers.
    pub(super) plan: Plan,
    /// Quality of links by sender and receiver.
    qualities: BTreeMap<(usize, usize), Quality>,
}

impl Base {
    /// Messages are late and lost in a third of the windows. Links have limited bandwidth and a
    /// delay in half of them.
    pub(super) fn draw(cluster: &Cluster, network: &Network, rng: &mut Rng) -> Self {
        let mut base = Self::default();
        if rng.u32(0..3) == 0 {
            for from in cluster.ids() {
                for to in cluster.ids().filter(|to| *to != from) {
                    let link = base.plan.of(from).link(to as u64);
                    link.delay_ms = rng.u64(0..15);
                    link.drop_permille = rng.u32(0..30);
                }
            }
        }
        let limited = rng.bool();
        for pair in network.pairs() {
            let quality = if limited {
                let delay = Duration::from_secs_f64(between(rng, 0.000_1, 0.05));
                Quality::new(between(rng, 10.0, 100.0), delay)
            } else {
                UNLIMITED
            };
            base.qualities.insert(pair, quality);
        }
        base
    }

    /// Restores the link qualities of this window.
    pub(super) fn restore(&self, network: &Network) {
        for ((from, to), quality) in &self.qualities {
            network.change(*from, *to, |now| *now = *quality);
        }
    }
}

/// Links without a noticeable limit.
pub(super) const UNLIMITED: Quality = Quality::new(10_000.0, Duration::ZERO);

/// Draws a number between `least` and `most`, with a log-uniform distribution.
pub(super) fn between(rng: &mut Rng, least: f64, most: f64) -> f64 {
    least * (most / least).powf(rng.f64())
}
