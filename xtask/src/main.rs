//! The one door to tooling: `cargo xtask <task>`.

fn main() {}
