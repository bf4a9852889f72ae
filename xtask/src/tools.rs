//! What the workspace is built with beside Rust: Kafka's client is in C.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{engine, process};

/// What has to work, and Debian's packages that have it. OpenSSL is for the feature `kafka-tls` only, which
/// the lints compile.
const TOOLS: [(&[&str], &str); 5] = [
    (&["cc", "--version"], "gcc"),
    (&["c++", "--version"], "g++"),
    (&["make", "--version"], "make"),
    (&["pkg-config", "--version"], "pkg-config"),
    (&["pkg-config", "--exists", "openssl"], "libssl-dev"),
];

/// Finds the tools; as root on Debian, installs those that are missing.
pub(crate) fn provide() -> Result<()> {
    let missing: Vec<_> = TOOLS
        .into_iter()
        .filter(|(tool, _)| !process::works(Command::new(tool[0]).args(&tool[1..])))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.into_iter().map(|(_, package)| package).collect();
    let names = packages.join(", ");
    if !engine::is_root() {
        bail!(
            "librdkafka is built from source, and something that it takes is missing: install {names}"
        );
    }
    println!("librdkafka is built from source: {names} is missing");
    engine::install(&packages).with_context(|| format!("{names} cannot be installed"))
}
