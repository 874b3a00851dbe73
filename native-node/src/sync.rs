//! The standard library's atomics, under names that a test replaces with a model checker's: see
//! `shuttled`.

pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};
