//! The whole test run: what the README tells a newcomer to type, and the last step of CI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use cargo_metadata::Metadata;

use crate::engine::Engine;
use crate::images::Images;
use crate::{process, python, tools};

pub(crate) fn run() -> Result<()> {
    tools::provide()?;
    let metadata = process::metadata(false)?;
    let run = Run::prepare(&metadata)?;

    heading("brokers");
    run.cargo(&["test", "--workspace", "--test", "brokers", "--", "--nocapture"])
        .context("a broker could not be started")?;

    heading("unit, integration and doc tests");
    run.cargo(&["test", "--workspace"])?;

    heading("examples");
    run.cargo(&["run", "--example", "quickstart"])?;

    heading("conformance");
    print!("{}", run.tables()?);
    println!("\neverything passed");
    Ok(())
}

/// Where the tests run, and what they are told about it.
struct Run {
    environment: Vec<(&'static str, String)>,
    /// Where the tests leave the tables of the conformance suite.
    tables: PathBuf,
}

impl Run {
    /// Brings an engine and the brokers' images.
    fn prepare(metadata: &Metadata) -> Result<Self> {
        heading("container engine");
        let engine = Engine::find_or_start()?;
        println!("{}", engine.describe());
        heading("images");
        let recipes = metadata.workspace_root.join("docker").into_std_path_buf();
        let mut environment = Images::new(&engine, recipes).provide()?;
        heading("Python with the brokers' clients");
        let python = python::provide()?;
        println!("{}", python.display());
        environment.push((python::PYTHON, python.to_string_lossy().into_owned()));
        environment.extend(engine.host().map(|host| ("DOCKER_HOST", host.to_owned())));
        let tables = metadata.target_directory.join("tmp/conformance").into_std_path_buf();
        forget(&tables)?;
        Ok(Self { environment, tables })
    }

    fn cargo(&self, arguments: &[&str]) -> Result<()> {
        let mut cargo: Command = process::cargo();
        cargo.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        process::run(&mut cargo)
    }

    /// Every table of the conformance suite that this run has made.
    fn tables(&self) -> Result<String> {
        let folder = self.tables.display();
        let mut files: Vec<_> = fs::read_dir(&self.tables)
            .with_context(|| format!("the conformance tests left no tables in {folder}"))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.sort_unstable();
        let texts: Result<Vec<String>> =
            files.iter().map(|file| Ok(format!("{}\n\n", fs::read_to_string(file)?))).collect();
        Ok(texts?.concat())
    }
}

/// What an earlier run has left is not what this one found.
fn forget(tables: &Path) -> Result<()> {
    if tables.exists() {
        fs::remove_dir_all(tables).with_context(|| tables.display().to_string())?;
    }
    Ok(())
}

fn heading(title: &str) {
    println!("\n== {title}");
}
