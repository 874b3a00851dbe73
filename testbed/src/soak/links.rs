//! What happens to links between servers, and between clients and servers.

use std::time::Duration;

use super::Field;
use super::field::between;
use crate::network::CLIENTS;

/// All links between servers have little bandwidth.
pub(super) async fn narrow(field: &mut Field<'_>, time: Duration) {
    for (from, to) in between_servers(field) {
        let mbit = between(field.rng, 1.0, 10.0);
        field.network.change(from, to, |now| now.mbit = mbit);
    }
    field.watch(time).await;
    field.base.restore(field.network);
}

/// All links between servers are long.
pub(super) async fn lengthen(field: &mut Field<'_>, time: Duration) {
    for (from, to) in between_servers(field) {
        let delay = Duration::from_secs_f64(between(field.rng, 0.02, 0.1));
        field.network.change(from, to, |now| now.delay = delay);
    }
    field.watch(time).await;
    field.base.restore(field.network);
}

fn between_servers(field: &Field<'_>) -> Vec<(usize, usize)> {
    field.network.pairs().filter(|(from, to)| ![*from, *to].contains(&CLIENTS)).collect()
}

/// From one end to all servers and back.
pub(super) fn of(ids: &[usize], end: usize) -> Vec<(usize, usize)> {
    let others = ids.iter().filter(|id| **id != end);
    others.flat_map(|other| [(end, *other), (*other, end)]).collect()
}

/// Nothing arrives, and nobody is told.
pub(super) async fn silence(field: &mut Field<'_>, ways: &[(usize, usize)], time: Duration) {
    for (from, to) in ways {
        field.network.change(*from, *to, |now| now.silent = true);
    }
    field.watch(time).await;
    field.base.restore(field.network);
}
