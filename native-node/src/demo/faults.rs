//! The intended faults of the demo's links and disks. The supervisor keeps them, because they
//! outlast the processes, and sends them to each restarted server.

use std::collections::BTreeMap;
use std::time::Duration;

use api::address::Address;
use api::faults::Faults;
use bytes::Bytes;
use client::Client;
use hyper::Method;

use super::process::DeedError;

/// The timeout for sending a server its faults; then the supervisor retries.
const PATIENCE: Duration = Duration::from_millis(500);

/// A change of the faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Disturbance {
    /// The disk hangs.
    Stall(u64),
    /// The disk is full.
    Full(u64),
    /// All links of the server are cut.
    Isolate(u64),
    /// The link is cut in both directions.
    Cut(u64, u64),
    /// The link is cut from the first to the second server.
    CutOneWay(u64, u64),
    /// All links between these servers and the others are cut. The recovery is measured for the
    /// first.
    Split(Vec<u64>),
    /// The link works again in both directions.
    HealLink(u64, u64),
    /// The link works again from the first to the second server.
    HealOneWay(u64, u64),
    /// The disk works again and has space.
    MendDisk(u64),
    /// The server's disk and links work again.
    Heal(u64),
    /// All disks and links work again.
    HealAll,
}

impl Disturbance {
    /// Parses a change for a server.
    pub(super) fn of_node(name: &str, id: u64) -> Option<Self> {
        match name {
            "stall" => Some(Self::Stall(id)),
            "full" => Some(Self::Full(id)),
            "isolate" => Some(Self::Isolate(id)),
            "mend-disk" => Some(Self::MendDisk(id)),
            "heal" => Some(Self::Heal(id)),
            _ => None,
        }
    }

    /// Parses a change for a link.
    pub(super) fn of_link(name: &str, from: u64, to: u64) -> Option<Self> {
        match name {
            "cut" => Some(Self::Cut(from, to)),
            "cut-one-way" => Some(Self::CutOneWay(from, to)),
            "heal" => Some(Self::HealLink(from, to)),
            "heal-one-way" => Some(Self::HealOneWay(from, to)),
            _ => None,
        }
    }

    /// Parses a split from the ids of the servers on one side, separated by commas.
    pub(super) fn split(apart: &str) -> Option<Self> {
        let apart: Option<Vec<u64>> = apart.split(',').map(|id| id.parse().ok()).collect();
        apart.map(Self::Split)
    }

    /// The affected server and the name of the fault, to measure the recovery. None if the change
    /// is no fault, or if the fault does not stop service.
    pub(super) fn measured(&self) -> Option<(u64, &'static str)> {
        match *self {
            Self::Stall(id) => Some((id, "stall")),
            Self::Isolate(id) => Some((id, "isolate")),
            Self::Cut(id, _) => Some((id, "cut")),
            Self::CutOneWay(id, _) => Some((id, "cut-one-way")),
            Self::Split(ref apart) => Some((*apart.first()?, "split")),
            Self::Full(_)
            | Self::HealLink(..)
            | Self::HealOneWay(..)
            | Self::MendDisk(_)
            | Self::Heal(_)
            | Self::HealAll => None,
        }
    }
}

/// The intended faults of each server.
#[derive(Debug)]
pub(super) struct Wanted(BTreeMap<u64, Faults>);

impl Wanted {
    /// No faults for these servers.
    pub(super) fn none(ids: impl Iterator<Item = u64>) -> Self {
        Self(ids.map(|id| (id, Faults::default())).collect())
    }

    /// The intended faults of a server.
    pub(super) fn of(&self, id: u64) -> Faults {
        self.0.get(&id).cloned().unwrap_or_default()
    }

    /// Applies a change, if its servers exist.
    pub(super) fn change(&mut self, change: Disturbance) -> Result<(), DeedError> {
        match change {
            Disturbance::Stall(id) => self.node(id)?.disk.stalled = true,
            Disturbance::Full(id) => self.node(id)?.disk.full = true,
            Disturbance::Isolate(id) => {
                self.node(id)?;
                for other in self.others(id) {
                    self.set_link(id, other, true)?;
                    self.set_link(other, id, true)?;
                }
            }
            Disturbance::Cut(from, to) => {
                self.set_link(from, to, true)?;
                self.set_link(to, from, true)?;
            }
            Disturbance::CutOneWay(from, to) => self.set_link(from, to, true)?,
            Disturbance::Split(apart) => {
                for id in &apart {
                    self.node(*id)?;
                }
                for id in &apart {
                    for other in self.others(*id).into_iter().filter(|it| !apart.contains(it)) {
                        self.set_link(*id, other, true)?;
                        self.set_link(other, *id, true)?;
                    }
                }
            }
            Disturbance::HealOneWay(from, to) => self.set_link(from, to, false)?,
            Disturbance::MendDisk(id) => {
                self.node(id)?.disk = api::faults::DiskFaults::default();
            }
            Disturbance::HealLink(from, to) => {
                self.set_link(from, to, false)?;
                self.set_link(to, from, false)?;
            }
            Disturbance::Heal(id) => {
                self.node(id)?.disk = api::faults::DiskFaults::default();
                for other in self.others(id) {
                    self.set_link(id, other, false)?;
                    self.set_link(other, id, false)?;
                }
            }
            Disturbance::HealAll => self.0.values_mut().for_each(|it| *it = Faults::default()),
        }
        Ok(())
    }

    fn node(&mut self, id: u64) -> Result<&mut Faults, DeedError> {
        self.0.get_mut(&id).ok_or(DeedError::NoSuchNode(id))
    }

    fn others(&self, id: u64) -> Vec<u64> {
        self.0.keys().copied().filter(|other| *other != id).collect()
    }

    /// Sets the fault at both ends, so it persists while either server restarts.
    fn set_link(&mut self, from: u64, to: u64, cut: bool) -> Result<(), DeedError> {
        if from == to {
            return Err(DeedError::NoSuchLink(from));
        }
        self.node(to)?;
        let faults = self.node(from)?;
        faults.link(to).cut_to = cut;
        faults.tidy();
        let faults = self.node(to)?;
        faults.link(from).cut_from = cut;
        faults.tidy();
        Ok(())
    }
}

/// Sends a server its faults; returns whether it succeeded.
pub(super) async fn tell(server: &Address, faults: &Faults) -> bool {
    let body = Bytes::from(serde_json::to_vec(faults).expect("faults have a JSON form"));
    let client = Client::new(vec![server.clone()], PATIENCE);
    client.request(&Method::PUT, "/faults", body).await.is_ok()
}

/// The faults as text.
pub(super) fn in_words(faults: &Faults) -> String {
    let mut words = Vec::new();
    words.extend(faults.disk.stalled.then(|| "its disk hangs".to_owned()));
    words.extend(faults.disk.full.then(|| "its disk is full".to_owned()));
    for (peer, link) in &faults.links {
        words.extend(link.cut_to.then(|| format!("cut to S{peer}")));
        words.extend(link.cut_from.then(|| format!("cut from S{peer}")));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that a cut affects both ends of a link, and that healing removes all faults.
    #[test]
    fn both_ends_of_a_cut_link_know_of_it() {
        let mut wanted = Wanted::none(1..=3);
        wanted.change(Disturbance::CutOneWay(1, 2)).expect("they are there");
        assert_eq!(in_words(&wanted.of(1)), "cut to S2");
        assert_eq!(in_words(&wanted.of(2)), "cut from S1");
        assert!(wanted.of(3).is_none());
        wanted.change(Disturbance::HealLink(2, 1)).expect("they are there");
        assert_eq!(wanted.of(1), Faults::default());
        wanted.change(Disturbance::Isolate(2)).expect("it is there");
        assert_eq!(in_words(&wanted.of(2)), "cut to S1, cut from S1, cut to S3, cut from S3");
        assert_eq!(in_words(&wanted.of(3)), "cut to S2, cut from S2");
        wanted.change(Disturbance::Stall(2)).expect("it is there");
        wanted.change(Disturbance::Heal(2)).expect("it is there");
        assert!((1..=3).all(|id| wanted.of(id).is_none()));
        assert!(matches!(wanted.change(Disturbance::Full(9)), Err(DeedError::NoSuchNode(9))));
        assert!(matches!(wanted.change(Disturbance::Cut(1, 9)), Err(DeedError::NoSuchNode(9))));
        assert!(matches!(wanted.change(Disturbance::Cut(1, 1)), Err(DeedError::NoSuchLink(1))));
        wanted.change(Disturbance::Split(vec![3, 1])).expect("they are there");
        assert_eq!(in_words(&wanted.of(2)), "cut to S1, cut from S1, cut to S3, cut from S3");
        assert_eq!(in_words(&wanted.of(3)), "cut to S2, cut from S2", "the two stay together");
        wanted.change(Disturbance::HealOneWay(3, 2)).expect("they are there");
        assert_eq!(in_words(&wanted.of(3)), "cut from S2");
        wanted.change(Disturbance::Full(3)).expect("it is there");
        wanted.change(Disturbance::MendDisk(3)).expect("it is there");
        assert_eq!(in_words(&wanted.of(3)), "cut from S2");
        wanted.change(Disturbance::HealAll).expect("there is nothing to miss");
        assert!(matches!(
            wanted.change(Disturbance::Split(vec![1, 9])),
            Err(DeedError::NoSuchNode(9))
        ));
        assert!((1..=3).all(|id| wanted.of(id).is_none()), "a wrong change changes nothing");
    }
}
