//! The `polymq` command.

fn main() {}
