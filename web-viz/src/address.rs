//! The fragment of the page's address (after `#`). It names what is shown, so a link shows the
//! same.

use std::rc::Rc;

use thiserror::Error;

use raft_core::scenario::Arm;

use crate::domain::lessons::{self, Play};
use crate::domain::rules::Rule;
use crate::domain::run::SimSetup;
use crate::link::{LinkError, Recall};

/// What an address asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A simulated cluster at its start.
    Simulate(SimSetup),
    /// A simulated cluster with the actions of a run, at the moment when the link was made.
    Run(SimSetup, Rc<Recall>),
    /// A running cluster. `None` means the cluster that served the page.
    Live(Option<String>),
}

/// Errors in an address.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum AddressError {
    #[error("This link asks for an unknown source, “{0}”; use simulate or live.")]
    Source(String),
    #[error("This link's seed, “{0}”, is not a whole number.")]
    Seed(String),
    #[error("This link breaks an unknown rule, “{0}”; choose a rule under Rules.")]
    Rule(String),
    #[error("There is no lesson “{0}”; press Lessons for the list.")]
    Lesson(String),
    #[error("This link asks for “{0}” servers; a cluster has 1 to {max}.", max = SimSetup::MOST)]
    Servers(String),
    #[error(transparent)]
    Run(#[from] LinkError),
}

impl Place {
    /// Parses a fragment, with or without its `#`. Missing fields keep their defaults, and unknown
    /// fields are ignored.
    pub(crate) fn parse(fragment: &str) -> Result<Self, AddressError> {
        let fragment = fragment.trim_start_matches('#');
        let mut setup = SimSetup::default();
        let mut source = "simulate".to_owned();
        let (mut address, mut recall, mut arm) = (None, None, Arm::Kept);
        for (name, value) in form_urlencoded::parse(fragment.as_bytes()) {
            match &*name {
                "source" => source = value.into_owned(),
                "seed" => setup.seed = parse_seed(&value)?,
                "servers" => {
                    let servers = value.parse().ok().filter(|n| SimSetup::servers_fit(*n));
                    setup.servers =
                        servers.ok_or_else(|| AddressError::Servers(value.into_owned()))?;
                }
                "break" => {
                    let rule = Rule::coded(&value);
                    setup.broken =
                        Some(rule.ok_or_else(|| AddressError::Rule(value.into_owned()))?);
                }
                "lesson" => {
                    let number = lessons::named(&value);
                    let number = number.ok_or_else(|| AddressError::Lesson(value.into_owned()))?;
                    setup.lesson = Some(Play { number, arm: Arm::Kept });
                }
                "arm" => arm = if value == "broken" { Arm::Broken } else { Arm::Kept },
                "run" => recall = Some(Recall::decode(&value)?),
                "cluster" => address = Some(value.into_owned()),
                _ => {}
            }
        }
        if let Some(play) = &mut setup.lesson {
            play.arm = arm;
        }
        match source.as_str() {
            "simulate" => {
                Ok(recall.map_or(Self::Simulate(setup), |recall| Self::Run(setup, recall)))
            }
            "live" => Ok(Self::Live(address)),
            _ => Err(AddressError::Source(source)),
        }
    }

    /// The fragment that [`Place::parse`] reads back, with its `#`.
    pub(crate) fn fragment(&self) -> String {
        let mut form = form_urlencoded::Serializer::for_suffix(String::from("#"), 1);
        match self {
            Self::Simulate(setup) | Self::Run(setup, _) => {
                form.append_pair("source", "simulate");
                if let Some(lesson) = setup.lesson.and_then(Play::lesson) {
                    form.append_pair("lesson", &lessons::name(lesson));
                    if let Self::Run(_, recall) = self {
                        if setup.lesson.is_some_and(|play| play.arm == Arm::Broken) {
                            form.append_pair("arm", "broken");
                        }
                        form.append_pair("run", &recall.encode());
                    }
                    return form.finish();
                }
                form.append_pair("seed", &setup.seed.to_string());
                form.append_pair("servers", &setup.servers.to_string());
                if let Some(rule) = setup.broken {
                    form.append_pair("break", &Rule::of(rule).code());
                }
                if let Self::Run(_, recall) = self {
                    form.append_pair("run", &recall.encode());
                }
            }
            Self::Live(address) => {
                form.append_pair("source", "live");
                if let Some(address) = address {
                    form.append_pair("cluster", address);
                }
            }
        }
        form.finish()
    }
}

/// Parses a seed that a person typed.
pub(crate) fn parse_seed(text: &str) -> Result<u64, AddressError> {
    text.trim().parse().map_err(|_| AddressError::Seed(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use raft_core::rules::Mutation;
    use raft_core::sim::{Action, JournalEntry, Moment};
    use raft_core::types::{NodeId, Time};

    use super::*;

    fn five() -> SimSetup {
        SimSetup { seed: 7, servers: 5, ..SimSetup::default() }
    }

    fn lesson(name: &str) -> SimSetup {
        let number = lessons::named(name).unwrap();
        SimSetup { lesson: Some(Play { number, arm: Arm::Kept }), ..SimSetup::default() }
    }

    fn broken(setup: SimSetup) -> SimSetup {
        SimSetup { lesson: setup.lesson.map(|play| Play { arm: Arm::Broken, ..play }), ..setup }
    }

    fn recall() -> Recall {
        let at = Moment { happened: 3, time: Time(40) };
        let journal = vec![JournalEntry { at, action: Action::Crash(NodeId(2)) }];
        Recall { journal, at, actions: 1, digest: 99 }
    }

    /// Guards that a shared link parses to what was written.
    #[test]
    fn an_address_is_read_back_as_written() {
        for place in [
            Place::Simulate(five()),
            Place::Simulate(SimSetup { broken: Some(Mutation::CommitOldTerms), ..five() }),
            Place::Simulate(lesson("12b")),
            Place::Run(five(), Rc::new(recall())),
            Place::Run(broken(lesson("8")), Rc::new(recall())),
            Place::Live(None),
            Place::Live(Some("http://127.0.0.1:7001/?a=b&c#d".to_owned())),
        ] {
            assert_eq!(Place::parse(&place.fragment()), Ok(place));
        }
        assert_eq!(Place::Simulate(five()).fragment(), "#source=simulate&seed=7&servers=5");
    }

    /// Guards links of later versions and links that are typed by hand.
    #[test]
    fn what_is_missing_or_unknown_does_no_harm_and_what_is_wrong_is_named() {
        assert_eq!(Place::parse(""), Ok(Place::Simulate(SimSetup::default())));
        assert_eq!(Place::parse("#tempo=3"), Ok(Place::Simulate(SimSetup::default())));
        let wrong = |fragment| Place::parse(fragment).unwrap_err().to_string();
        assert!(wrong("#seed=abc").contains("“abc”"));
        assert!(wrong("#servers=12").contains("1 to 9"));
        assert!(wrong("#servers=0").contains("1 to 9"));
        assert!(wrong("#break=the_ice").contains("“the_ice”"));
        assert!(wrong("#lesson=99").contains("“99”"));
        assert!(wrong("#source=mars").contains("“mars”"));
        assert!(wrong("#run=abc").contains("cut off"));
    }
}
