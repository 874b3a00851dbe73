//! A stroke across the ring: which links it crosses, and which servers it separates.

use std::collections::BTreeSet;

use raft_core::types::NodeId;

use super::layout::{Layout, Point};
use crate::domain::cluster::ClusterModel;

/// What a stroke would cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It crosses no link that passes messages.
    Nothing,
    /// It separates the servers into these groups.
    Apart(Vec<BTreeSet<NodeId>>),
    /// It separates no servers, and cuts these links.
    Links(Vec<(NodeId, NodeId)>),
}

/// What the stroke along `path` would cut.
pub(crate) fn cut(path: &[Point], cluster: &ClusterModel, layout: &Layout) -> Cut {
    let crossed = crossed(path, cluster, layout);
    if crossed.is_empty() {
        return Cut::Nothing;
    }
    let before = circles(cluster, &[]);
    let after = circles(cluster, &crossed);
    // A partition heals all links within its groups, but it must not heal links that were cut one
    // by one.
    let mends = after.iter().any(|group| {
        group
            .iter()
            .any(|one| group.iter().any(|other| one != other && !cluster.linked(*one, *other)))
    });
    if after.len() > before.len() && !mends { Cut::Apart(after) } else { Cut::Links(crossed) }
}

impl Cut {
    /// Whether the cut includes this link.
    pub(crate) fn takes(&self, (one, other): (NodeId, NodeId)) -> bool {
        match self {
            Self::Nothing => false,
            Self::Apart(groups) => {
                groups.iter().any(|group| group.contains(&one) != group.contains(&other))
            }
            Self::Links(links) => links.contains(&(one, other)),
        }
    }

    /// Describes the cut in words.
    pub(crate) fn words(&self) -> String {
        let names = |nodes: &BTreeSet<NodeId>| {
            let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
            names.join(", ")
        };
        match self {
            Self::Nothing => "crosses no link".to_owned(),
            Self::Apart(groups) => {
                let groups: Vec<String> = groups.iter().map(names).collect();
                format!("cuts {}", groups.join(" from "))
            }
            Self::Links(links) => {
                let link = |(one, other): &(NodeId, NodeId)| format!("{one}–{other}");
                let links: Vec<String> = links.iter().map(link).collect();
                let what = if links.len() == 1 { "link" } else { "links" };
                format!("cuts the {what} {}", links.join(", "))
            }
        }
    }
}

/// The links that pass messages and that the stroke crosses, each with its lower end first.
fn crossed(path: &[Point], cluster: &ClusterModel, layout: &Layout) -> Vec<(NodeId, NodeId)> {
    let crosses = |link: (Point, Point)| {
        path.windows(2).any(|piece| matches!(piece, [from, to] if meet((*from, *to), link)))
    };
    let links = super::links::marks(cluster, layout).into_iter();
    links
        .filter(|link| link.state != super::links::LinkState::Cut)
        .filter(|link| crosses((link.from, link.to)))
        .map(|link| link.ends)
        .collect()
}

/// Whether two segments cross.
fn meet((a, b): (Point, Point), (c, d): (Point, Point)) -> bool {
    let side = |p: Point, q: Point, r: Point| (q.x - p.x) * (r.y - p.y) - (q.y - p.y) * (r.x - p.x);
    // A stroke that only touches a link counts as crossing; a stroke without length does not.
    side(c, d, a) * side(c, d, b) <= 0.0 && side(a, b, c) * side(a, b, d) <= 0.0 && a != b
}

/// The groups of servers that are connected, directly or over others, without these links. Smaller
/// groups come first.
pub(super) fn circles(
    cluster: &ClusterModel,
    without: &[(NodeId, NodeId)],
) -> Vec<BTreeSet<NodeId>> {
    let passes = |one: NodeId, other: NodeId| {
        let cut = |from, to| cluster.view.cut_links.contains(&(from, to));
        let gone = without.contains(&(one.min(other), one.max(other)));
        !gone && (!cut(one, other) || !cut(other, one))
    };
    let mut rest = cluster.roster.clone();
    let mut circles: Vec<BTreeSet<NodeId>> = Vec::new();
    while let Some(first) = rest.pop_first() {
        let (mut circle, mut edge) = (BTreeSet::from([first]), vec![first]);
        while let Some(node) = edge.pop() {
            let near: Vec<_> = rest.iter().copied().filter(|other| passes(node, *other)).collect();
            for other in near {
                rest.remove(&other);
                circle.insert(other);
                edge.push(other);
            }
        }
        let place = circles.iter().take_while(|it| it.len() <= circle.len()).count();
        circles.insert(place, circle);
    }
    circles
}

#[cfg(test)]
mod tests {
    use super::super::layout::Size;
    use super::*;
    use crate::domain::testing::Script;

    const SIZE: Size = Size { width: 800.0, height: 600.0 };

    fn set(nodes: &[u64]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    /// The point halfway between two servers.
    fn between(layout: &Layout, one: u64, two: u64) -> Point {
        let at = |node| layout.spot(NodeId(node)).unwrap().at;
        at(one).towards(at(two), 0.5)
    }

    /// Guards that a stroke through the ring separates the servers on its two sides, and that the
    /// words name the groups, the smaller group first.
    #[test]
    fn a_stroke_through_the_ring_parts_the_servers() {
        let cluster = Script::new(5).cluster();
        let layout = Layout::of(SIZE, &cluster.roster);
        // The stroke passes between S1 and S5 on one side, and between S2 and S3 on the other.
        let (start, end) = (between(&layout, 1, 5), between(&layout, 2, 3));
        let path = [end.towards(start, 1.4), start.towards(end, 1.4)];
        let cut = cut(&path, &cluster, &layout);
        assert_eq!(cut, Cut::Apart(vec![set(&[1, 2]), set(&[3, 4, 5])]));
        assert_eq!(cut.words(), "cuts S1, S2 from S3, S4, S5");
        assert!(cut.takes((NodeId(1), NodeId(5))) && !cut.takes((NodeId(1), NodeId(2))));
    }

    /// Guards that a short stroke cuts single links if it separates no servers. Links already cut
    /// do not count, and a stroke through nothing cuts nothing.
    #[test]
    fn a_short_stroke_cuts_single_links() {
        let cluster = Script::new(3).cluster();
        let layout = Layout::of(SIZE, &cluster.roster);
        let middle = between(&layout, 1, 2);
        let across = [middle.at(0.6, -9.0), middle.at(0.6, 9.0)];
        let one = cut(&across, &cluster, &layout);
        assert_eq!(one, Cut::Links(vec![(NodeId(1), NodeId(2))]));
        assert_eq!(one.words(), "cuts the link S1–S2");
        let outside = [Point { x: 2.0, y: 2.0 }, Point { x: 60.0, y: 2.0 }];
        assert_eq!(cut(&outside, &cluster, &layout), Cut::Nothing);
        assert_eq!(cut(&across[..1], &cluster, &layout), Cut::Nothing);
        let isolated = Script::new(3).isolate(1).cluster();
        assert_eq!(cut(&across, &isolated, &layout), Cut::Nothing);
    }

    /// Guards that a stroke keeps links cut that were cut by hand. A partition would heal them, so
    /// none is made.
    #[test]
    fn a_stroke_mends_nothing() {
        let mut cluster = Script::new(4).cluster();
        cluster.view.cut_links.extend([(NodeId(3), NodeId(4)), (NodeId(4), NodeId(3))]);
        let layout = Layout::of(SIZE, &cluster.roster);
        let (start, end) = (between(&layout, 1, 4), between(&layout, 1, 2));
        let path = [end.towards(start, 1.4), start.towards(end, 1.4)];
        let Cut::Links(links) = cut(&path, &cluster, &layout) else { panic!("it would mend") };
        assert_eq!(links.len(), 3);
        assert!(links.iter().all(|(one, _)| *one == NodeId(1)));
    }
}
