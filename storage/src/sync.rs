//! The standard library's synchronization primitives, under names that a test can replace with a
//! model checker's: see `log/shuttled`.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
