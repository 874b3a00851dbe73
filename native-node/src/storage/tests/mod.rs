//! Tests of the storage as a whole.

mod crash;
mod damage;
mod disk;
mod foreign;
mod real;
mod sequences;
mod service;
mod world;
