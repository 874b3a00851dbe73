//! The panels of the page, one folder each: how it looks (`mod.rs`), its style (`style.css`), and
//! what only it needs. A panel turns the model and the scene into elements, and clicks into
//! actions. It makes no decisions.
//!
//! `app.rs` places each panel by its function `panel`.

pub(crate) mod act;
pub(crate) mod board;
pub(crate) mod caption;
pub(crate) mod compare;
mod dialog;
pub(crate) mod events;
pub(crate) mod help;
pub(crate) mod inspector;
pub(crate) mod lanes;
pub(crate) mod lesson;
pub(crate) mod matrix;
pub(crate) mod notice;
pub(crate) mod parts;
pub(crate) mod promises;
pub(crate) mod scrub;
pub(crate) mod share;
pub(crate) mod stage;
pub(crate) mod store;
pub(crate) mod tabs;
pub(crate) mod top;
pub(crate) mod transport;
