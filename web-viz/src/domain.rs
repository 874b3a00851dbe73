//! What the page knows of a cluster and of a run. It knows nothing of the page's views or of the
//! source that reports.

pub(crate) mod actions;
pub(crate) mod clients;
pub(crate) mod cluster;
pub(crate) mod compare;
pub(crate) mod failover;
pub(crate) mod feed;
pub(crate) mod form;
pub(crate) mod history;
pub(crate) mod lanes;
pub(crate) mod lessons;
pub(crate) mod playback;
pub(crate) mod promises;
pub(crate) mod rules;
pub(crate) mod run;
pub(crate) mod selection;
pub(crate) mod story;
pub(crate) mod tape;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod why;
