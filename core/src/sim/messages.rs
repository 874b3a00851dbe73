//! The way of each message from its sender to its end, and the actions on messages in transit.

use super::queue::Happening;
use super::{Flying, Simulation, wire};
use crate::event::{DropReason, EventKind, Fault};
use crate::message::Message;
use crate::replica::Input;
use crate::types::{EventId, MILLISECOND, Micros, Time};

/// A server that learns of a lost message learns of it within this time, in µs.
const LOSS_NOTICED: Micros = 100 * MILLISECOND;

impl Simulation {
    /// The messages in transit, including held messages, in the order of their ids.
    pub fn flying(&self) -> impl Iterator<Item = &Flying> {
        self.network.flying()
    }

    pub(super) fn send(&mut self, message: Message) {
        let id = message.id();
        let (message, bytes) =
            if self.config.goes_through_bytes() { wire::message(&message) } else { (message, 0) };
        let fate = self.network.fate(&message, bytes, self.now, &mut self.random);
        self.record(Some(id), EventKind::MessageInTransit { message: id, due: fate.due });
        if fate.refused {
            self.queue
                .push(self.now, Happening::Vanish { message: id, why: DropReason::QueueFull });
            self.notice_loss(&message, self.now);
            return;
        }
        if let Some((at, why)) = fate.ends {
            self.queue.push(at, Happening::Vanish { message: id, why });
            self.notice_loss(&message, at);
            return;
        }
        let flying = Flying { id, message, sent_at: self.now, due: Some(fate.due) };
        if let Some(due) = fate.copy {
            self.copy(Flying { due: Some(due), ..flying.clone() });
        }
        self.launch(flying);
    }

    fn launch(&mut self, flying: Flying) {
        if let Some(due) = flying.due {
            self.queue.push(due, Happening::Arrive { message: flying.id });
        }
        self.network.launch(flying);
    }

    /// Sends a copy of a message. The copy's id is that of the recorded event.
    fn copy(&mut self, flying: Flying) {
        let fault = Fault::MessageCopied { message: flying.message.id(), due: flying.due };
        let id = self.record(Some(flying.id), EventKind::Fault(fault));
        self.launch(Flying { id, ..flying });
    }

    pub(super) fn arrive(&mut self, id: EventId) {
        // A message that was dropped, held or delayed meanwhile does not arrive now.
        let Some(Flying { message, sent_at, .. }) = self.network.land(id, self.now) else { return };
        if !self.network.is_up(message.from, message.to) {
            self.dropped(id, DropReason::LinkCut);
            self.notice_loss(&message, self.now);
        } else if self.servers.get(&message.to).is_none_or(|server| server.replica.is_none()) {
            self.dropped(id, DropReason::ReceiverDown);
            self.notice_loss(&message, self.now);
        } else {
            let age = if self.config.message_ages { self.now.since(sent_at) } else { 0 };
            self.input(message.to, Input::ReceiveAged { message, age });
        }
    }

    /// Tells the sender of some losses after a while, as a transport does when a connection breaks.
    fn notice_loss(&mut self, message: &Message, lost_at: Time) {
        let Some(sender) = self.servers.get(&message.from) else { return };
        let (node, peer, run) = (message.from, message.to, sender.run);
        if !message.body.is_urgent() && self.random.chance(500) {
            let at = lost_at.after(self.random.between(0, LOSS_NOTICED));
            self.queue.push(at, Happening::SendFailed { node, run, peer });
        }
    }

    pub(super) fn dropped(&mut self, message: EventId, why: DropReason) {
        self.record(Some(message), EventKind::MessageDropped { message, why });
    }

    // Actions on single messages

    pub(super) fn drop_message(&mut self, message: EventId) {
        self.network.take(message);
        self.queue.push(self.now, Happening::Vanish { message, why: DropReason::Lost });
    }

    pub(super) fn hold(&mut self, message: EventId) {
        self.network.set_due(message, None);
        self.record(Some(message), EventKind::Fault(Fault::MessageHeld { message }));
    }

    pub(super) fn reschedule(&mut self, message: EventId, due: Time) {
        self.network.set_due(message, Some(due));
        self.record(Some(message), EventKind::MessageInTransit { message, due });
        self.queue.push(due, Happening::Arrive { message });
    }

    pub(super) fn duplicate(&mut self, message: EventId) {
        if let Some(flying) = self.network.get(message).cloned() {
            self.copy(flying);
        }
    }
}
