//! Placeholder until the first real step.

fn main() {}
