//! The `native-node` program; see the library of the same name.

fn main() {}
