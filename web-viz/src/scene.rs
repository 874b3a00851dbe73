//! What the stage shows, as plain figures: places, shapes and words. Pure, so that every claim
//! that the picture makes is tested without a browser.

pub(crate) mod grid;
pub(crate) mod lanes;
pub(crate) mod layout;
pub(crate) mod links;
pub(crate) mod server;
pub(crate) mod tape;
pub(crate) mod traffic;

use raft_core::types::{NodeId, Term, Time};

use crate::model::known::Known;
use crate::model::playback::Pace;
use layout::{Layout, Size};

/// One picture of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scene {
    pub(crate) layout: Layout,
    pub(crate) term: Term,
    pub(crate) servers: Vec<server::ServerMark>,
    pub(crate) links: Vec<links::LinkMark>,
    pub(crate) flights: Vec<traffic::FlightMark>,
}

impl Scene {
    /// The cluster as it is at `now`.
    pub(crate) fn of(
        known: &Known,
        now: Time,
        pace: Pace,
        size: Size,
        selected: Option<NodeId>,
    ) -> Self {
        let layout = Layout::of(size, &known.roster);
        let servers = known
            .roster
            .iter()
            .map(|node| server::ServerMark::of(*node, known, now, &layout, selected == Some(*node)))
            .collect();
        let links = links::marks(known, &layout);
        let flights = traffic::marks(known, now, pace, &layout);
        Self { term: known.view.term(), layout, servers, links, flights }
    }
}
