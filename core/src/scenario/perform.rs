//! Carries out one command.

use super::Line;
use super::command::{Command, MessageAction, MessageQuery};
use super::condition::Condition;
use super::guarantee::Guarantee;
use super::runner::{Runner, World};
use crate::sim::{Action, NetworkConfig, Simulation};
use crate::types::{EventId, NodeId, RequestId, Time};

impl Runner {
    /// Carries out a command, at most up to `until`. Returns whether the command is done.
    pub(super) fn perform(
        &mut self,
        line: &Line,
        world: &mut impl World,
        until: Time,
    ) -> Result<bool, String> {
        let now = world.simulation().now();
        match &line.command {
            Command::Wait(span) => {
                let target = *self.limit.get_or_insert(now.after(*span));
                self.pass_until(world, target.min(until));
                Ok(target <= until)
            }
            Command::WaitUntil { condition, within } => {
                let limit = *self.limit.get_or_insert(now.after(*within));
                self.wait_until(world, condition, limit, until)
            }
            Command::Expect(condition) => self.expect(world, condition).map(|()| true),
            Command::Message(what, query) => self.message(world, *what, query).map(|()| true),
            Command::InSession { node, sequence, change } => {
                let session = self.record.session().ok_or("no session is open yet")?;
                let (node, command) = (*node, change.in_session(session, *sequence));
                let request = act(world, Action::Write { node, command })?;
                self.asked(line, request, now);
                Ok(true)
            }
            Command::Elect(_)
            | Command::Partition(_)
            | Command::Heal
            | Command::SetLink { .. }
            | Command::Slow { .. }
            | Command::ChangeMembership { .. }
            | Command::Transfer { .. }
            | Command::AddServer(_)
            | Command::Wipe(_)
            | Command::Clock { .. }
            | Command::Crash(_)
            | Command::Restart(_)
            | Command::Freeze(_)
            | Command::Thaw(_)
            | Command::Write { .. }
            | Command::Read { .. }
            | Command::Compact(_)
            | Command::Delay(_)
            | Command::Disk(_)
            | Command::Loss(_) => {
                for action in actions(&line.command) {
                    let request = act(world, action)?;
                    self.asked(line, request, now);
                }
                Ok(true)
            }
        }
    }

    /// Does `what` to every message that the query selects. There must be at least one message.
    fn message(
        &mut self,
        world: &mut impl World,
        what: MessageAction,
        query: &MessageQuery,
    ) -> Result<(), String> {
        let flying: Vec<EventId> = query.among(world.simulation()).map(|it| it.id).collect();
        if flying.is_empty() {
            let summary = self.scene(world.simulation()).summary();
            return Err(format!("no {query} is in transit {summary}"));
        }
        for message in &flying {
            let message = *message;
            let action = match what {
                MessageAction::Drop => Action::Drop(message),
                MessageAction::Hold => Action::Hold(message),
                MessageAction::Release => Action::Release(message),
                MessageAction::Duplicate => Action::Duplicate(message),
            };
            act(world, action)?;
        }
        // A released message must arrive before the next line begins.
        while what == MessageAction::Release && is_flying(world.simulation(), &flying) {
            world.step();
            self.record.take_in(world);
        }
        Ok(())
    }

    fn pass_until(&mut self, world: &mut impl World, target: Time) {
        while world.simulation().next_at().is_some_and(|next| next <= target) {
            world.step();
            self.record.take_in(world);
        }
        world.rest_until(target);
    }

    fn wait_until(
        &mut self,
        world: &mut impl World,
        condition: &Condition,
        limit: Time,
        until: Time,
    ) -> Result<bool, String> {
        loop {
            self.record.take_in(world);
            if self.holds(world, condition)? {
                return Ok(true);
            }
            let next = world.simulation().next_at();
            if next.is_none_or(|next| next > limit) {
                return Err(format!(
                    "this did not happen in time; {}",
                    self.scene(world.simulation()).summary()
                ));
            }
            if next.is_some_and(|next| next > until) {
                world.rest_until(until);
                return Ok(false);
            }
            world.step();
        }
    }

    fn expect(&mut self, world: &mut impl World, condition: &Condition) -> Result<(), String> {
        self.record.take_in(world);
        if self.holds(world, condition)? {
            return Ok(());
        }
        Err(format!("this does not hold {}", self.scene(world.simulation()).summary()))
    }

    fn holds(&mut self, world: &impl World, condition: &Condition) -> Result<bool, String> {
        // The history check is expensive, so it runs only for this condition.
        if *condition == Condition::Violated(Guarantee::Linearizability) {
            self.record.judge_history(world.simulation());
        }
        self.scene(world.simulation()).holds(condition)
    }
}

fn act(world: &mut impl World, action: Action) -> Result<Option<RequestId>, String> {
    world.act(action).map_err(|error| error.to_string())
}

/// Whether any of these messages is still in transit.
fn is_flying(simulation: &Simulation, messages: &[EventId]) -> bool {
    simulation.flying().any(|flying| messages.contains(&flying.id))
}

/// The actions of a command on the cluster.
fn actions(command: &Command) -> Vec<Action> {
    let one = |action| vec![action];
    match command {
        Command::Elect(node) => one(Action::Elect(*node)),
        Command::Partition(groups) => one(Action::Partition(groups.clone())),
        Command::Heal => one(Action::Heal),
        Command::SetLink { from, to, both, up } => {
            let link = |from: NodeId, to: NodeId| Action::SetLink { from, to, up: *up };
            if *both { vec![link(*from, *to), link(*to, *from)] } else { one(link(*from, *to)) }
        }
        Command::Crash(node) => one(Action::Crash(*node)),
        Command::Restart(node) => one(Action::Restart(*node)),
        Command::Freeze(node) => one(Action::Freeze(*node)),
        Command::Thaw(node) => one(Action::Thaw(*node)),
        Command::Write { node, change } => {
            one(Action::Write { node: *node, command: change.clone() })
        }
        Command::Read { node, key, lease } => {
            one(Action::Read { node: *node, key: key.clone().into(), lease: *lease })
        }
        Command::Compact(node) => one(Action::Compact(*node)),
        Command::Delay(span) => one(Action::SetDelay { min: *span, max: *span }),
        Command::Disk(span) => one(Action::SetDiskDelay { min: *span, max: *span }),
        Command::Loss(permille) => one(Action::SetLoss { permille: *permille }),
        Command::ChangeMembership { node, change } => {
            one(Action::ChangeMembership { node: *node, change: change.clone() })
        }
        Command::Transfer { node, to } => one(Action::Transfer { node: *node, to: Some(*to) }),
        Command::AddServer(node) => one(Action::AddServer(*node)),
        Command::Wipe(node) => one(Action::Wipe(*node)),
        Command::Clock { node, permille } => {
            one(Action::SetClock { node: *node, jump: 0, rate_permille: *permille })
        }
        Command::Slow { from, to, delay } => {
            let (delay_min, delay_max) = (*delay, *delay);
            let quality = NetworkConfig { delay_min, delay_max, ..NetworkConfig::default() };
            one(Action::SetLinkQuality { from: *from, to: *to, quality: Some(quality) })
        }
        Command::Wait(_)
        | Command::WaitUntil { .. }
        | Command::Expect(_)
        | Command::Message(..)
        | Command::InSession { .. } => Vec::new(),
    }
}
