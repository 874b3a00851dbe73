//! The page in a real browser; see the crate's documentation for what it needs.

mod access;
mod fast;
mod hands;
mod lanes;
mod live;
mod looks;
mod offline;
mod peers;
mod simulate;
mod teach;
mod travel;
mod why;
