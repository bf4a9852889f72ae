use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::recipe::Recipe;
use crate::{engine, process};

const FETCH: Duration = Duration::from_secs(600);

/// A copy of a recipe with the jars that its `pom.xml` names, if it has one. It stays in the cache.
///
/// They are fetched here: what an image is built in may lack the certificates that Maven needs.
pub(super) fn context(recipe: &Recipe, name: &str) -> Result<Option<PathBuf>> {
    if !recipe.folder.join("pom.xml").exists() {
        return Ok(None);
    }
    let folder = process::cache()?.join("images");
    let context = folder.join(format!("{name}-{}", recipe.hash));
    if context.exists() {
        return Ok(Some(context));
    }
    find_or_install_maven()?;
    let partial = folder.join(format!("{name}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    for file in &recipe.files {
        let copy = file.file_name().map(|name| partial.join(name));
        fs::copy(file, copy.context("a file without a name")?)?;
    }
    let mut maven = Command::new("mvn");
    maven.args(["--quiet", "--batch-mode", "--file"]).arg(partial.join("pom.xml"));
    maven.args(["dependency:copy-dependencies", "-DoutputDirectory=libs"]);
    process::run_within(&mut maven, FETCH).context("the jars could not be fetched")?;
    fs::rename(&partial, &context)?;
    Ok(Some(context))
}

fn find_or_install_maven() -> Result<()> {
    if process::works(Command::new("mvn").arg("--version")) {
        return Ok(());
    }
    engine::install(&["maven"]).context("Maven is missing, and cannot be installed")
}
