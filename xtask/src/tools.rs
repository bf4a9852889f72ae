//! What the workspace is built with beside Rust: Kafka's client is in C.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{engine, process};

/// Programs, and Debian's packages that have them.
const TOOLS: [(&str, &str); 3] = [("cc", "gcc"), ("c++", "g++"), ("make", "make")];

/// Finds the tools; as root on Debian, installs those that are missing.
pub(crate) fn provide() -> Result<()> {
    let missing: Vec<_> = TOOLS
        .into_iter()
        .filter(|(program, _)| !process::works(Command::new(program).arg("--version")))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (programs, packages): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
    let programs = programs.join(", ");
    if !engine::is_root() {
        bail!(
            "librdkafka is built from source, and {programs} is missing: install {}",
            packages.join(", ")
        );
    }
    println!("{programs} is missing, and librdkafka is built from source");
    engine::install(&packages).with_context(|| format!("{programs} cannot be installed"))
}
