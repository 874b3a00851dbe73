//! What is wrong with the demo's links and disks: kept here, since it outlives the processes, and
//! told to the servers again whenever one of them is started.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;

use super::process::DeedError;
use crate::client::Client;
use crate::config::Address;
use crate::faults::Faults;

/// How long a server may take to hear of its faults; then it is told again.
const PATIENCE: Duration = Duration::from_millis(500);

/// A change of what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Disturbance {
    /// The disk hangs.
    Stall(u64),
    /// The disk has no room.
    Full(u64),
    /// No link of the server carries anything.
    Isolate(u64),
    /// The link carries nothing, either way.
    Cut(u64, u64),
    /// The link carries nothing from the first to the second server.
    CutOneWay(u64, u64),
    /// No link between one of these servers and any other carries anything. The first is the one
    /// that it is about.
    Split(Vec<u64>),
    /// The link is whole again.
    HealLink(u64, u64),
    /// The link carries what the first server sends to the second again.
    HealOneWay(u64, u64),
    /// The disk works and has room again.
    MendDisk(u64),
    /// Disk and links of the server are whole again.
    Heal(u64),
    /// All is whole again.
    HealAll,
}

impl Disturbance {
    /// Of one server, by its name.
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

    /// Of a link, by its name.
    pub(super) fn of_link(name: &str, from: u64, to: u64) -> Option<Self> {
        match name {
            "cut" => Some(Self::Cut(from, to)),
            "cut-one-way" => Some(Self::CutOneWay(from, to)),
            "heal" => Some(Self::HealLink(from, to)),
            "heal-one-way" => Some(Self::HealOneWay(from, to)),
            _ => None,
        }
    }

    /// A split, by the numbers of the servers on its one side, with commas between them.
    pub(super) fn split(apart: &str) -> Option<Self> {
        let apart: Option<Vec<u64>> = apart.split(',').map(|id| id.parse().ok()).collect();
        apart.map(Self::Split)
    }

    /// What it is called when the cluster's recovery from it is told, and the server that it hits
    /// most; nothing when it is no fault, or none that stops service.
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

/// What is to be wrong with each server.
#[derive(Debug)]
pub(super) struct Wanted(BTreeMap<u64, Faults>);

impl Wanted {
    /// Nothing is wrong with these.
    pub(super) fn none(ids: impl Iterator<Item = u64>) -> Self {
        Self(ids.map(|id| (id, Faults::default())).collect())
    }

    /// What is to be wrong with a server.
    pub(super) fn of(&self, id: u64) -> Faults {
        self.0.get(&id).cloned().unwrap_or_default()
    }

    /// Makes a change, if the servers that it speaks of are there.
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
                self.node(id)?.disk = crate::storage::disk::DiskFaults::default();
            }
            Disturbance::HealLink(from, to) => {
                self.set_link(from, to, false)?;
                self.set_link(to, from, false)?;
            }
            Disturbance::Heal(id) => {
                self.node(id)?.disk = crate::storage::disk::DiskFaults::default();
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

    /// At both ends, so that it holds while one of them starts again.
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

/// Tells a server what is wrong with it; says whether it heard.
pub(super) async fn tell(server: &Address, faults: &Faults) -> bool {
    let body = Bytes::from(serde_json::to_vec(faults).expect("faults have a JSON form"));
    let client = Client::new(vec![server.clone()], PATIENCE);
    client.request(&Method::PUT, "/faults", body).await.is_ok()
}

/// What is wrong, for people.
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

    /// Guards which ends of which links a disturbance reaches, and that healing leaves nothing.
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
