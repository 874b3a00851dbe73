//! Tests of the page in a real browser; the crate's documentation says what they need.

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
