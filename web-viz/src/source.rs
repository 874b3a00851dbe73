//! Where events come from. Each source yields events; nothing else of it is drawn.

pub(crate) mod live;
pub(crate) mod replay;
pub(crate) mod script;
pub(crate) mod sim;
pub(crate) mod trace;

/// The kinds of source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// A cluster that runs inside the page.
    #[default]
    Simulate,
    /// A cluster of real servers.
    Live,
    /// A recording.
    Replay,
}
