//! The line of a partition.
//!
//! **Invariant:** A single line separates groups that are neighbours on the ring, which is easy to
//! see. If the groups are interleaved on the ring, each cut link shows its own bar instead.

use std::collections::BTreeSet;

use raft_core::types::NodeId;

use super::layout::{Layout, Point};
use super::stroke;
use crate::domain::cluster::ClusterModel;
use crate::num::len;

/// How far beyond the ring the line reaches, as a share of the ring's radius.
const BEYOND: f64 = 1.12;

/// The distance from the line to the disc of a server, in pixels.
const CLEARANCE: f64 = 8.0;

/// The number of segments of a curve.
const PIECES: u32 = 16;

/// The lines of a partition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Border {
    /// The lines that separate the groups, as polylines.
    pub(crate) lines: Vec<Vec<Point>>,
    /// Which servers are separated, in words.
    pub(crate) words: String,
}

impl Border {
    /// The lines between groups that exchange no messages. `None` if there is only one group, or if
    /// no simple line separates them.
    pub(crate) fn of(cluster: &ClusterModel, layout: &Layout) -> Option<Self> {
        let groups = stroke::circles(cluster, &[]);
        if groups.len() < 2 {
            return None;
        }
        let ring: Vec<(NodeId, Point)> = layout.spots().map(|(id, spot)| (id, spot.at)).collect();
        let group = |id: NodeId| groups.iter().position(|group| group.contains(&id));
        let next = ring.iter().cycle().skip(1);
        let gaps: Vec<Point> = ring
            .iter()
            .zip(next)
            .filter(|((one, _), (other, _))| group(*one) != group(*other))
            .map(|((_, from), (_, to))| gap(layout, *from, *to))
            .collect();
        // If there are as many gaps as groups, each group is one contiguous stretch of the ring.
        if gaps.len() != groups.len() {
            return None;
        }
        let lines = match gaps.as_slice() {
            [one, other] => vec![between(layout, ring.len(), (*one, *other))],
            _ => gaps.iter().map(|gap| vec![layout.centre, *gap]).collect(),
        };
        Some(Self { lines, words: words(&groups) })
    }

    /// Where the way from one point to another meets a line, as a fraction of the way.
    pub(crate) fn met(&self, from: Point, to: Point) -> Option<f64> {
        let pieces = self.lines.iter().flat_map(|line| line.windows(2));
        let shares = pieces.filter_map(|piece| match piece {
            [start, end] => share((from, to), (*start, *end)),
            _ => None,
        });
        shares.min_by(f64::total_cmp)
    }
}

/// The point beyond the ring, halfway between two neighbours.
fn gap(layout: &Layout, from: Point, to: Point) -> Point {
    let centre = layout.centre;
    let [start, mut end] = [from, to].map(|at| centre.bearing(at));
    // Neighbours follow each other clockwise.
    if end <= start {
        end += std::f64::consts::TAU;
    }
    centre.at(f64::midpoint(start, end), layout.ring * BEYOND)
}

/// A curve from one gap to the other. It runs halfway between the last link inside the smaller
/// group and the first link inside the other group. It passes close to a single server, and through
/// the middle if both groups are equal.
fn between(layout: &Layout, servers: usize, (one, other): (Point, Point)) -> Vec<Point> {
    let (centre, ring) = (layout.centre, layout.ring);
    let middle = one.towards(other, 0.5);
    let distance = centre.distance(middle);
    // Half the angle that the smaller group takes on the ring, and half the angle of one server.
    let half = (distance / (ring * BEYOND)).clamp(-1.0, 1.0).acos();
    let step = std::f64::consts::PI / len(servers);
    let nearest = ring * (half + step).cos();
    let farthest = (ring * (half - step).cos()).min(ring - layout.disc - CLEARANCE);
    // If there is hardly room, the line still stays off the link.
    let towards = 2.0 * f64::midpoint(nearest, farthest).max(nearest + 1.0) - distance;
    bent(one, centre.at(centre.bearing(middle), towards), other)
}

/// A quadratic curve from one point to another, bent towards a third.
fn bent(from: Point, towards: Point, to: Point) -> Vec<Point> {
    (0..=PIECES)
        .map(|piece| {
            let share = f64::from(piece) / f64::from(PIECES);
            from.towards(towards, share).towards(towards.towards(to, share), share)
        })
        .collect()
}

/// Where the second segment crosses the first, as a fraction of the first.
fn share((a, b): (Point, Point), (c, d): (Point, Point)) -> Option<f64> {
    let cross = |p: Point, q: Point| p.x * q.y - p.y * q.x;
    let minus = |p: Point, q: Point| Point { x: p.x - q.x, y: p.y - q.y };
    let (way, wall) = (minus(b, a), minus(d, c));
    let across = cross(way, wall);
    let (along, up) = (cross(minus(c, a), wall) / across, cross(minus(c, a), way) / across);
    let inside = (0.0..=1.0).contains(&along) && (0.0..=1.0).contains(&up);
    // Parallel segments give NaN or infinity.
    inside.then_some(along)
}

fn words(groups: &[BTreeSet<NodeId>]) -> String {
    let names = |group: &BTreeSet<NodeId>| crate::domain::cluster::names(group.iter().copied());
    let groups: Vec<String> = groups.iter().map(names).collect();
    format!("Nothing passes between {}", groups.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::super::layout::Size;
    use super::*;
    use crate::domain::testing::Script;

    fn parted(servers: u64, apart: &[u64]) -> (ClusterModel, Layout) {
        let mut cluster = Script::new(servers).cluster();
        for one in apart {
            for other in (1..=servers).filter(|other| !apart.contains(other)) {
                cluster.view.cut_links.insert((NodeId(*one), NodeId(other)));
                cluster.view.cut_links.insert((NodeId(other), NodeId(*one)));
            }
        }
        let layout = Layout::of(Size { width: 800.0, height: 600.0 }, &cluster.roster);
        (cluster, layout)
    }

    /// Guards that the line of a partition crosses every link between the groups, no link within a
    /// group, and no server.
    #[test]
    fn the_line_crosses_what_is_cut_and_nothing_else() {
        for (servers, apart) in [
            (2, &[1][..]),
            (3, &[2]),
            (5, &[1]),
            (5, &[1, 2]),
            (5, &[5, 1]),
            (7, &[3, 4, 5]),
            (9, &[9]),
        ] {
            let (cluster, layout) = parted(servers, apart);
            let border = Border::of(&cluster, &layout).unwrap();
            let spots: Vec<_> = layout.spots().collect();
            for (one, from) in &spots {
                for (other, to) in spots.iter().filter(|(other, _)| other > one) {
                    let crossed = border.met(from.at, to.at).is_some();
                    let cut = apart.contains(&one.0) != apart.contains(&other.0);
                    assert_eq!(crossed, cut, "{servers} servers, {apart:?}: {one} to {other}");
                }
                let near = border.lines.iter().flatten().map(|at| at.distance(from.at));
                assert!(
                    near.fold(f64::MAX, f64::min) > layout.disc,
                    "{servers}: {apart:?} at {one}"
                );
            }
        }
    }

    /// Guards that interleaved groups get no line: their links show the cuts themselves.
    #[test]
    fn groups_that_lie_among_each_other_have_no_line() {
        let (cluster, layout) = parted(5, &[1, 3]);
        assert_eq!(Border::of(&cluster, &layout), None);
        let (whole, layout) = parted(5, &[]);
        assert_eq!(Border::of(&whole, &layout), None);
    }

    /// Guards that three groups are separated by three lines.
    #[test]
    fn three_groups_are_parted_by_three_lines() {
        let (mut cluster, layout) = parted(6, &[1, 2]);
        for (one, other) in [(3, 5), (3, 6), (4, 5), (4, 6)].map(|(a, b)| (NodeId(a), NodeId(b))) {
            cluster.view.cut_links.extend([(one, other), (other, one)]);
        }
        let border = Border::of(&cluster, &layout).unwrap();
        assert_eq!(border.lines.len(), 3);
        assert_eq!(border.words, "Nothing passes between S1 and S2 | S3 and S4 | S5 and S6");
        let at = |node: u64| layout.spot(NodeId(node)).unwrap().at;
        assert!(border.met(at(2), at(3)).is_some());
        assert!(border.met(at(3), at(4)).is_none());
    }
}
