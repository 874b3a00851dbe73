//! The positions on the stage: servers on a ring, links between their rims.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::TAU;

use raft_core::types::NodeId;

use crate::num::len;

/// A width and a height in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Size {
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// A position on the stage in pixels, from the upper left corner.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
}

impl Point {
    pub(crate) fn towards(self, other: Self, share: f64) -> Self {
        Self { x: self.x + (other.x - self.x) * share, y: self.y + (other.y - self.y) * share }
    }

    /// The point at `distance` in the direction `angle`, in radians, clockwise from the right.
    pub(crate) fn at(self, angle: f64, distance: f64) -> Self {
        Self { x: self.x + angle.cos() * distance, y: self.y + angle.sin() * distance }
    }

    pub(crate) fn bearing(self, other: Self) -> f64 {
        (other.y - self.y).atan2(other.x - self.x)
    }

    pub(crate) fn distance(self, other: Self) -> f64 {
        (other.x - self.x).hypot(other.y - self.y)
    }
}

/// How a label is aligned to its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// The position of a server and of its label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spot {
    pub(crate) at: Point,
    /// The middle of the label's first line.
    pub(crate) label: Point,
    pub(crate) anchor: Anchor,
}

/// The positions and sizes of everything on the stage, in pixels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    pub(crate) size: Size,
    pub(crate) centre: Point,
    /// The radius of the ring.
    pub(crate) ring: f64,
    /// The radius of a server's disc.
    pub(crate) disc: f64,
    /// Half the size of a message's mark.
    pub(crate) mark: f64,
    /// Whether there is room for labels beside the servers, and so for more than one word.
    pub(crate) roomy: bool,
    spots: BTreeMap<NodeId, Spot>,
}

/// The distance from the disc's edge to where messages start and end. The timer's arc and the votes
/// lie between.
const RIM: f64 = 17.0;

/// The height of one line of a label.
pub(crate) const LINE: f64 = 17.0;

/// The width of a label that is one word.
const WORD: f64 = 100.0;

/// The width of a label with figures.
const LABEL: f64 = 150.0;

/// The room for a crown above a leader's rim.
const CROWN: f64 = 6.0;

/// The free room at the top and at the bottom together.
const MARGIN: f64 = 20.0;

impl Layout {
    /// The largest layout that fits, in the middle of the available room.
    pub(crate) fn of(size: Size, roster: &BTreeSet<NodeId>) -> Self {
        let count = roster.len();
        let room = size.width.min(size.height);
        let share = match count {
            0..=3 => 0.1,
            4..=5 => 0.085,
            6..=7 => 0.072,
            _ => 0.064,
        };
        let least = if count > 7 { 17.0 } else { 22.0 };
        let disc = (room * share).clamp(least, 50.0);
        let beside = size.width >= 560.0;
        let ring = largest_ring(size, disc, count, beside);
        let extent = Extent::of(ring, disc, count, beside);
        let centre =
            Point { x: size.width / 2.0, y: (size.height - extent.top - extent.bottom) / 2.0 };
        let spots = roster
            .iter()
            .zip(angles(count))
            .map(|(node, angle)| (*node, spot(centre.at(angle, ring), angle, disc, beside)))
            .collect();
        Self {
            size,
            centre,
            ring,
            disc,
            mark: (disc * 0.24).clamp(7.5, 11.0),
            roomy: beside,
            spots,
        }
    }

    pub(crate) fn spot(&self, node: NodeId) -> Option<Spot> {
        self.spots.get(&node).copied()
    }

    pub(crate) fn spots(&self) -> impl Iterator<Item = (NodeId, Spot)> + '_ {
        self.spots.iter().map(|(node, spot)| (*node, *spot))
    }

    /// The distance from a server's centre at which messages start and end.
    pub(crate) fn rim(&self) -> f64 {
        self.disc + RIM
    }

    /// The lane of messages from one server to another. Each direction keeps to its right, so a
    /// request and its reply do not collide.
    pub(crate) fn lane(&self, from: NodeId, to: NodeId) -> Option<(Point, Point)> {
        let (start, end) = (self.spot(from)?.at, self.spot(to)?.at);
        let angle = start.bearing(end);
        let aside = angle + TAU / 4.0;
        let shift = self.mark * 0.95;
        let start = start.at(angle, self.rim()).at(aside, shift);
        let end = end.at(angle, -self.rim()).at(aside, shift);
        Some((start, end))
    }
}

/// The angles of the servers, clockwise from the top. Two servers stand side by side.
fn angles(count: usize) -> impl Iterator<Item = f64> {
    let first = if count == 2 { -TAU / 2.0 } else { -TAU / 4.0 };
    let step = TAU / len(count.max(1));
    (0..count).map(move |place| first + step * len(place))
}

/// How far a layout reaches from the ring's centre: upwards (negative), downwards, sideways.
struct Extent {
    top: f64,
    bottom: f64,
    side: f64,
}

impl Extent {
    fn of(ring: f64, disc: f64, count: usize, beside: bool) -> Self {
        let rim = disc + RIM + CROWN;
        let mut extent = Self { top: -rim, bottom: rim, side: rim };
        for angle in angles(count) {
            let spot = spot(Point::default().at(angle, ring), angle, disc, beside);
            extent.top = extent.top.min(spot.at.y - rim).min(spot.label.y - LINE * 0.6);
            extent.bottom = extent.bottom.max(spot.at.y + rim).max(spot.label.y + LINE * 0.6);
            let reach = match spot.anchor {
                Anchor::Middle => spot.at.x.abs() + rim.max(WORD / 2.0),
                Anchor::Start | Anchor::End => spot.label.x.abs() + LABEL,
            };
            extent.side = extent.side.max(reach);
        }
        extent
    }

    fn fits(&self, size: Size) -> bool {
        self.bottom - self.top <= size.height - MARGIN && 2.0 * self.side <= size.width
    }
}

/// Finds the largest ring by bisection, because the extent grows with the ring.
fn largest_ring(size: Size, disc: f64, count: usize, beside: bool) -> f64 {
    if count < 2 {
        return 0.0;
    }
    // On a smaller ring the servers would touch.
    let least = 1.15 * disc / (std::f64::consts::PI / len(count)).sin();
    let (mut fits, mut too_large) = (least, size.width.max(size.height));
    while too_large - fits > 0.5 {
        let ring = f64::midpoint(fits, too_large);
        if Extent::of(ring, disc, count, beside).fits(size) {
            fits = ring;
        } else {
            too_large = ring;
        }
    }
    fits
}

/// Labels lie outside the ring, where no message passes.
fn spot(at: Point, angle: f64, disc: f64, beside: bool) -> Spot {
    let out = disc + RIM;
    if beside {
        // Straight up and straight down count as right.
        let right = angle.cos() > -0.01;
        let x = if right { at.x + out + 10.0 } else { at.x - out - 10.0 };
        let anchor = if right { Anchor::Start } else { Anchor::End };
        return Spot { at, label: Point { x, y: at.y - LINE * 0.5 }, anchor };
    }
    let above = angle.sin() < -0.01;
    let y = if above { at.y - out - CROWN - LINE * 0.5 } else { at.y + out + LINE * 0.5 };
    Spot { at, label: Point { x: at.x, y }, anchor: Anchor::Middle }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(count: u64) -> BTreeSet<NodeId> {
        (1..=count).map(NodeId).collect()
    }

    const SIZES: [Size; 4] = [
        Size { width: 820.0, height: 520.0 },
        Size { width: 1180.0, height: 700.0 },
        Size { width: 390.0, height: 360.0 },
        Size { width: 320.0, height: 300.0 },
    ];

    /// Guards the layout on a projector and on a phone, for every cluster size: nothing is drawn
    /// outside the stage, and no two servers touch.
    #[test]
    fn servers_stand_inside_and_apart() {
        for size in SIZES {
            for count in 1..=9 {
                let layout = Layout::of(size, &roster(count));
                let spots: Vec<Spot> = layout.spots().map(|(_, spot)| spot).collect();
                for spot in &spots {
                    let (x, y) = (spot.at.x, spot.at.y);
                    let room = layout.disc + 6.0;
                    assert!(x >= room && x <= size.width - room, "{size:?} {count} {x}");
                    assert!(y >= room && y <= size.height - room, "{size:?} {count} {y}");
                    assert!(spot.label.y > 4.0 && spot.label.y < size.height - 4.0);
                }
                for (place, one) in spots.iter().enumerate() {
                    for other in &spots[place + 1..] {
                        let apart = one.at.distance(other.at);
                        assert!(apart > 2.0 * layout.disc + 4.0, "{size:?} {count} {apart}");
                    }
                }
            }
        }
    }

    /// Guards that requests and replies do not cover each other.
    #[test]
    fn the_two_directions_of_a_link_are_apart() {
        let layout = Layout::of(SIZES[0], &roster(3));
        let there = layout.lane(NodeId(1), NodeId(2)).unwrap();
        let back = layout.lane(NodeId(2), NodeId(1)).unwrap();
        assert!(there.0.distance(back.1) > layout.mark * 1.8);
    }
}
