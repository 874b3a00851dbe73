//! The links between servers, and where they are cut.

use raft_core::types::NodeId;

use super::layout::{Layout, Point};
use crate::domain::cluster::ClusterModel;

/// One link between two servers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LinkMark {
    pub(crate) ends: (NodeId, NodeId),
    pub(crate) from: Point,
    pub(crate) to: Point,
    pub(crate) state: LinkState,
    /// Whether the stroke that the user draws would cut the link.
    pub(crate) doomed: bool,
    /// Whether the link's own bar shows the cut, instead of the line of a partition.
    pub(crate) barred: bool,
}

/// Which directions of a link let messages pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    Up,
    Cut,
    /// Only one direction passes: first to second server if `forward`, otherwise second to first.
    OneWay {
        forward: bool,
    },
}

/// The marks of all links.
pub(crate) fn marks(cluster: &ClusterModel, layout: &Layout) -> Vec<LinkMark> {
    let servers: Vec<_> = layout.spots().collect();
    let mut marks = Vec::new();
    for (place, (one, from)) in servers.iter().enumerate() {
        for (other, to) in &servers[place + 1..] {
            let cut = |from: &NodeId, to: &NodeId| cluster.view.cut_links.contains(&(*from, *to));
            let state = match (cut(one, other), cut(other, one)) {
                (false, false) => LinkState::Up,
                (true, true) => LinkState::Cut,
                (false, true) => LinkState::OneWay { forward: true },
                (true, false) => LinkState::OneWay { forward: false },
            };
            let angle = from.at.bearing(to.at);
            marks.push(LinkMark {
                ends: (*one, *other),
                from: from.at.at(angle, layout.rim()),
                to: to.at.at(angle, -layout.rim()),
                state,
                doomed: false,
                barred: true,
            });
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::super::layout::Size;
    use super::*;
    use crate::domain::testing::{self, Script};

    /// Guards that exactly the links across a partition are drawn as cut.
    #[test]
    fn an_isolated_server_has_all_its_links_cut() {
        let mut cluster = Script::new(4).cluster();
        testing::isolate(&mut cluster, 2);
        cluster.view.cut_links.remove(&(NodeId(2), NodeId(3)));
        let size = Size { width: 800.0, height: 600.0 };
        let marks = marks(&cluster, &Layout::of(size, &cluster.roster));
        assert_eq!(marks.len(), 6);
        for mark in marks {
            let expected = match mark.ends {
                (NodeId(2), NodeId(3)) => LinkState::OneWay { forward: true },
                (one, other) if one == NodeId(2) || other == NodeId(2) => LinkState::Cut,
                _ => LinkState::Up,
            };
            assert_eq!(mark.state, expected, "{:?}", mark.ends);
        }
    }
}
