//! What the environment does to servers and messages, beside crashes, freezes and cut links.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::{EventId, Time};

/// See the module. Only simulated clusters have such events.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A message stays in the air until further notice.
    MessageHeld {
        /// Its name in the air.
        message: EventId,
    },
    /// A copy of a message flies beside it; this event is its name in the air.
    MessageCopied {
        /// The message as it was sent.
        message: EventId,
        /// When the copy arrives; `None` while it is held.
        due: Option<Time>,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MessageHeld { message } => write!(f, "Message {message} is held in the air"),
            Self::MessageCopied { message, due: Some(due) } => {
                write!(f, "Message {message} flies twice, its copy will arrive at {due}")
            }
            Self::MessageCopied { message, due: None } => {
                write!(f, "Message {message} is in the air twice, both held")
            }
        }
    }
}
