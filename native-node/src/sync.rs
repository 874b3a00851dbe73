//! The standard library's primitives for hand-overs of our own, under names that a test can give to
//! a model checker's: see `shuttled`.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
