//! What faults happen to.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

use super::figures::Figures;
use crate::cluster::Cluster;
use crate::faults::Plan;
use crate::load::Load;
use crate::network::{Network, Quality};

/// How often servers are looked at.
const GLANCE: Duration = Duration::from_millis(250);

/// Cluster, network and judged clients, as a fault finds them.
pub(super) struct Field<'a> {
    pub(super) cluster: &'a mut Cluster,
    pub(super) network: &'a Network,
    pub(super) rng: &'a mut Rng,
    pub(super) base: &'a Base,
    /// The judged clients.
    pub(super) load: &'a Load,
    /// What servers ask clients for.
    pub(super) token: &'a str,
    pub(super) figures: Figures,
}

impl Field<'_> {
    /// Lets time pass and looks at the servers meanwhile.
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

/// What is wrong anyway, for a whole window.
#[derive(Debug, Default)]
pub(super) struct Base {
    /// With messages between servers.
    pub(super) plan: Plan,
    /// What links are like, by who sends to whom.
    qualities: BTreeMap<(usize, usize), Quality>,
}

impl Base {
    /// Messages are late and lost in every third window; links have a bandwidth and a delay in every
    /// second one.
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

    /// Makes links as they are in this window.
    pub(super) fn restore(&self, network: &Network) {
        for ((from, to), quality) in &self.qualities {
            network.change(*from, *to, |now| *now = *quality);
        }
    }
}

/// Links that stand in nobody's way.
pub(super) const UNLIMITED: Quality = Quality::new(10_000.0, Duration::ZERO);

/// Some number between these two, as often in each of its magnitudes.
pub(super) fn between(rng: &mut Rng, least: f64, most: f64) -> f64 {
    least * (most / least).powf(rng.f64())
}
