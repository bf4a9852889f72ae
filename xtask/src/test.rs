//! The whole test run: what the README tells a newcomer to type, and the last step of CI.

use anyhow::{Context, Result};
use cargo_metadata::Metadata;

use crate::process;

pub(crate) fn run() -> Result<()> {
    heading("unit, integration and doc tests");
    cargo(&["test", "--workspace"])?;

    heading("examples");
    cargo(&["run", "--example", "quickstart"])?;

    heading("conformance");
    // The same packages as above, so that nothing is built again.
    cargo(&["test", "--workspace", "--test", "conformance", "--", "--nocapture"])?;

    heading("brokers");
    println!("memory    embedded, polymq-core {}", core_version(&process::metadata(false)?)?);
    println!("\neverything passed");
    Ok(())
}

fn heading(title: &str) {
    println!("\n== {title}");
}

fn cargo(arguments: &[&str]) -> Result<()> {
    process::run(process::cargo().args(arguments))
}

fn core_version(metadata: &Metadata) -> Result<String> {
    let packages = metadata.workspace_packages();
    packages
        .iter()
        .find(|p| *p.name == *"polymq-core")
        .map(|p| p.version.to_string())
        .context("the workspace has no package polymq-core")
}
