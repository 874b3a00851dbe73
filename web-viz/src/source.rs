//! Sources of events. The page draws a source only from its events.

pub(crate) mod live;
pub(crate) mod replay;
pub(crate) mod script;
pub(crate) mod sim;
pub(crate) mod trace;
