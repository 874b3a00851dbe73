//! Messages from their sending to their end, each open to what a person does to it on its way.

use super::queue::Happening;
use super::{Flying, Simulation, wire};
use crate::event::{DropReason, EventKind, Fault};
use crate::message::Message;
use crate::replica::Input;
use crate::types::{EventId, Time};

impl Simulation {
    /// The messages on their way, those that are held among them, by their names in the air.
    pub fn flying(&self) -> impl Iterator<Item = &Flying> {
        self.network.flying()
    }

    pub(super) fn send(&mut self, message: Message) {
        let id = message.id();
        let (message, bytes) = match self.config.through_bytes {
            true => wire::message(&message),
            false => (message, 0),
        };
        let fate = self.network.fate(&message, bytes, self.now, &mut self.random);
        self.record(Some(id), EventKind::MessageInTransit { message: id, due: fate.due });
        if let Some((at, why)) = fate.ends {
            self.queue.push(at, Happening::Vanish { message: id, why });
            return;
        }
        if let Some(due) = fate.copy {
            self.copy(id, message.clone(), Some(due));
        }
        self.launch(id, message, fate.due);
        for message in fate.crowded_out {
            // Its copies, if any, are on their way by themselves.
            if self.network.take(message).is_some() {
                self.dropped(message, DropReason::QueueFull);
            }
        }
    }

    fn launch(&mut self, id: EventId, message: Message, due: Time) {
        self.network.launch(id, message, Some(due));
        self.queue.push(due, Happening::Arrive { message: id });
    }

    /// Lets a message fly a second time. The copy gets a name of its own, that of the event.
    fn copy(&mut self, id: EventId, message: Message, due: Option<Time>) {
        let fault = Fault::MessageCopied { message: message.id(), due };
        let copy = self.record(Some(id), EventKind::Fault(fault));
        match due {
            Some(due) => self.launch(copy, message, due),
            None => self.network.launch(copy, message, None),
        }
    }

    pub(super) fn arrive(&mut self, id: EventId) {
        // A message that was dropped, held or put off meanwhile does not arrive now.
        let Some(message) = self.network.land(id, self.now) else { return };
        if !self.network.is_up(message.from, message.to) {
            self.dropped(id, DropReason::LinkCut);
        } else if self.servers.get(&message.to).is_none_or(|server| server.replica.is_none()) {
            self.dropped(id, DropReason::ReceiverDown);
        } else {
            self.input(message.to, Input::Receive(message));
        }
    }

    pub(super) fn dropped(&mut self, message: EventId, why: DropReason) {
        self.record(Some(message), EventKind::MessageDropped { message, why });
    }

    // What a person does to one message

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
            self.copy(message, flying.message, flying.due);
        }
    }
}
