//! The user interface, one file per region. Components turn the model and the scene into elements,
//! and clicks into actions. They make no decisions.

pub(crate) mod act;
mod air;
pub(crate) mod board;
pub(crate) mod caption;
pub(crate) mod cluster;
pub(crate) mod compare;
mod dialog;
pub(crate) mod events;
pub(crate) mod help;
pub(crate) mod history;
pub(crate) mod inspector;
pub(crate) mod lanes;
pub(crate) mod lesson;
pub(crate) mod lessons;
pub(crate) mod matrix;
pub(crate) mod notice;
pub(crate) mod parts;
pub(crate) mod promises;
mod prose;
mod rules;
pub(crate) mod scrub;
pub(crate) mod share;
pub(crate) mod stage;
pub(crate) mod store;
pub(crate) mod tabs;
pub(crate) mod top;
pub(crate) mod transport;
pub(crate) mod tray;
pub(crate) mod why;
