//! Hostile clients beside the judged ones, which must go on.

use std::time::Duration;

use super::Field;
use super::field::UNLIMITED;
use crate::health::Health;
use crate::hostile::{self, Hostile, Kind, Target};
use crate::load::remove_all;

/// No server may take longer to say how it is, whatever its other clients do.
const LONGEST_HEALTH: Duration = Duration::from_secs(5);

/// So many of a hundred requests of judged clients may fail beside hostile ones, and so many more: a
/// leader may change for other reasons.
const MOST_FAILED_PERCENT: u64 = 10;
const MOST_FAILED: u64 = 20;

/// How much longer than other faults hostile clients stay, to come into their own.
const LONGER: Duration = Duration::from_secs(2);

/// Writes of judged clients that must come through while the others are at work.
const WRITES: u64 = 20;

/// Lets hostile clients loose on these servers. Judged clients go on, and all servers say how they are
/// in time.
pub(super) async fn molest(field: &mut Field<'_>, kind: Kind, ids: &[usize], time: Duration) {
    let targets: Vec<_> =
        ids.iter().map(|id| Target::of(field.cluster, *id, field.token)).collect();
    if kind == Kind::Huge {
        // What they write has to cross every link, and judged writes come after it in the log: on narrow
        // links it is these that are judged, and not the servers.
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
        "  {kind:?}: {tally}; {failed} of {} judged requests failed; {} KiB between servers; health \
         {} times, {} ms at most, wrong {:?}",
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
        "beside {kind:?} clients a server did not say how it is: {health:?}"
    );
    assert!(
        failed <= MOST_FAILED + (answered + failed) * MOST_FAILED_PERCENT / 100,
        "beside {kind:?} clients {failed} requests failed, and {answered} did not"
    );
    assert!(tally.connections() > 0, "nobody came");
    if kind == Kind::Strangers {
        let let_in = tally.with_status(|status| status < 400);
        assert_eq!(let_in, 0, "strangers were let in: {tally}");
    }
    remove_all(&field.cluster.any_client(), hostile::PREFIX).await;
    field.base.restore(field.network);
    field.cluster.apply(&field.base.plan).await;
}
