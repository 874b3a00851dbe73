//! Tests of the storage as a whole.

mod crash;
mod damage;
mod foreign;
mod full;
mod real;
mod sequences;
mod server;
mod service;
mod world;

use super::disk::memory as disk;
