//! The intended faults of the demo's links and disks. The supervisor keeps them, because they
//! outlast the processes, and sends them to each restarted server.

use std::collections::BTreeMap;
use std::time::Duration;

use api::address::Address;
use api::demo::Action;
use api::faults::Faults;
use bytes::Bytes;
use client::Client;
use hyper::Method;

use super::process::ActionError;

/// The timeout for sending a server its faults; then the supervisor retries.
const PATIENCE: Duration = Duration::from_millis(500);

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

    /// Applies an action on disks and links, if its servers exist.
    pub(super) fn change(&mut self, action: &Action) -> Result<(), ActionError> {
        match *action {
            // Faults outlast processes.
            Action::Process(id, _) => {
                self.node(id)?;
            }
            Action::Stall(id) => self.node(id)?.disk.stalled = true,
            Action::Fill(id) => self.node(id)?.disk.full = true,
            Action::Isolate(id) => {
                self.node(id)?;
                for other in self.others(id) {
                    self.set_link(id, other, true)?;
                    self.set_link(other, id, true)?;
                }
            }
            Action::Cut(from, to) => {
                self.set_link(from, to, true)?;
                self.set_link(to, from, true)?;
            }
            Action::CutOneWay(from, to) => self.set_link(from, to, true)?,
            Action::Split(ref apart) => {
                for id in apart {
                    self.node(*id)?;
                }
                for id in apart {
                    for other in self.others(*id).into_iter().filter(|it| !apart.contains(it)) {
                        self.set_link(*id, other, true)?;
                        self.set_link(other, *id, true)?;
                    }
                }
            }
            Action::HealOneWay(from, to) => self.set_link(from, to, false)?,
            Action::MendDisk(id) => {
                self.node(id)?.disk = api::faults::DiskFaults::default();
            }
            Action::HealLink(from, to) => {
                self.set_link(from, to, false)?;
                self.set_link(to, from, false)?;
            }
            Action::Heal(id) => {
                self.node(id)?.disk = api::faults::DiskFaults::default();
                for other in self.others(id) {
                    self.set_link(id, other, false)?;
                    self.set_link(other, id, false)?;
                }
            }
            Action::HealAll => self.0.values_mut().for_each(|it| *it = Faults::default()),
        }
        Ok(())
    }

    fn node(&mut self, id: u64) -> Result<&mut Faults, ActionError> {
        self.0.get_mut(&id).ok_or(ActionError::NoSuchNode(id))
    }

    fn others(&self, id: u64) -> Vec<u64> {
        self.0.keys().copied().filter(|other| *other != id).collect()
    }

    /// Sets the fault at both ends, so it persists while either server restarts.
    fn set_link(&mut self, from: u64, to: u64, cut: bool) -> Result<(), ActionError> {
        if from == to {
            return Err(ActionError::NoSuchLink(from));
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
        wanted.change(&Action::CutOneWay(1, 2)).expect("they are there");
        assert_eq!(in_words(&wanted.of(1)), "cut to S2");
        assert_eq!(in_words(&wanted.of(2)), "cut from S1");
        assert!(wanted.of(3).is_none());
        wanted.change(&Action::HealLink(2, 1)).expect("they are there");
        assert_eq!(wanted.of(1), Faults::default());
        wanted.change(&Action::Isolate(2)).expect("it is there");
        assert_eq!(in_words(&wanted.of(2)), "cut to S1, cut from S1, cut to S3, cut from S3");
        assert_eq!(in_words(&wanted.of(3)), "cut to S2, cut from S2");
        wanted.change(&Action::Stall(2)).expect("it is there");
        wanted.change(&Action::Heal(2)).expect("it is there");
        assert!((1..=3).all(|id| wanted.of(id).is_none()));
        assert!(matches!(wanted.change(&Action::Fill(9)), Err(ActionError::NoSuchNode(9))));
        assert!(matches!(wanted.change(&Action::Cut(1, 9)), Err(ActionError::NoSuchNode(9))));
        assert!(matches!(wanted.change(&Action::Cut(1, 1)), Err(ActionError::NoSuchLink(1))));
        wanted.change(&Action::Split(vec![3, 1])).expect("they are there");
        assert_eq!(in_words(&wanted.of(2)), "cut to S1, cut from S1, cut to S3, cut from S3");
        assert_eq!(in_words(&wanted.of(3)), "cut to S2, cut from S2", "the two stay together");
        wanted.change(&Action::HealOneWay(3, 2)).expect("they are there");
        assert_eq!(in_words(&wanted.of(3)), "cut from S2");
        wanted.change(&Action::Fill(3)).expect("it is there");
        wanted.change(&Action::MendDisk(3)).expect("it is there");
        assert_eq!(in_words(&wanted.of(3)), "cut from S2");
        wanted.change(&Action::HealAll).expect("there is nothing to miss");
        assert!(matches!(
            wanted.change(&Action::Split(vec![1, 9])),
            Err(ActionError::NoSuchNode(9))
        ));
        assert!((1..=3).all(|id| wanted.of(id).is_none()), "a wrong change changes nothing");
    }
}
