//! Benchmarks: our tracker beside others, in one run, alternating.

fn main() {}
