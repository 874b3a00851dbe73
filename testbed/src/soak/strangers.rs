//! Runs hostile clients beside the judged clients, which must still succeed.

use std::time::Duration;

use super::Field;
use super::field::UNLIMITED;
use crate::health::Health;
use crate::hostile::{self, Hostile, Kind, Target};
use crate::load::remove_all;

/// Maximum time of a health check, whatever other clients do.
const LONGEST_HEALTH: Duration = Duration::from_secs(5);

/// Failures of judged clients that are allowed beside hostile clients: a percentage, and a number
/// in addition, because a leader may change for other reasons.
const MOST_FAILED_PERCENT: u64 = 10;
const MOST_FAILED: u64 = 20;

/// Time that hostile clients run longer than other faults, to take effect.
const LONGER: Duration = Duration::from_secs(2);

/// Number of judged clients' writes that must succeed meanwhile.
const WRITES: u64 = 20;

/// Runs hostile clients against these servers. Judged clients must still succeed, and all servers
/// must answer health checks in time.
pub(super) async fn molest(field: &mut Field<'_>, kind: Kind, ids: &[usize], time: Duration) {
    let targets: Vec<_> =
        ids.iter().map(|id| Target::of(field.cluster, *id, field.token)).collect();
    if kind == Kind::Huge {
        // Make links unlimited: large values cross every link, and judged writes wait behind them
        // in the log. On narrow links the check would measure the links, not the servers.
        for (from, to) in field.network.pairs() {
            field.network.change(from, to, |now| *now = UNLIMITED);
        }
        field.cluster.heal().await;
    }
    let (answered, failed) = field.load.answered_and_failed();
    let carried = field.network.carried();
    let health = Health::watch(field.cluster.ids().map(|id| field.cluster.address(id)).collect());
    let hostile = Hostile::start(kind, &targets);
    field.watch(time + LONGER).await;
    field.load.more_writes(WRITES).await;
    let tally = hostile.stop().await;
    let health = health.finish().await;
    let (answered, failed) = {
        let now = field.load.answered_and_failed();
        (now.0 - answered, now.1 - failed)
    };
    println!(
        "  {kind:?}: {tally}. {failed} of {} judged requests failed. {} KiB between servers. \
         Health checks: {} times, {} ms at most, wrong {:?}",
        answered + failed,
        (field.network.carried() - carried) >> 10,
        health.answers,
        health.slowest.as_millis(),
        health.wrong
    );
    let figures = &mut field.figures;
    figures.health = figures.health.max(health.slowest);
    figures.asked += answered + failed;
    figures.failed += failed;
    assert!(
        health.wrong.is_empty() && health.slowest <= LONGEST_HEALTH,
        "beside {kind:?} clients health checks failed or were slow: {health:?}"
    );
    assert!(
        failed <= MOST_FAILED + (answered + failed) * MOST_FAILED_PERCENT / 100,
        "beside {kind:?} clients {failed} requests failed, and {answered} succeeded"
    );
    assert!(tally.connections() > 0, "no hostile client connected");
    if kind == Kind::Strangers {
        let let_in = tally.with_status(|status| status < 400);
        assert_eq!(let_in, 0, "requests with wrong tokens succeeded: {tally}");
    }
    remove_all(&field.cluster.any_client(), hostile::PREFIX).await;
    field.base.restore(field.network);
    field.cluster.apply(&field.base.plan).await;
}
