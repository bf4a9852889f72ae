//! Debian as a base of images, made by debootstrap where no image registry has one for us.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::engine::{self, Engine};
use crate::process;

const NAME: &str = "polymq/debian";
const DEBOOTSTRAP: Duration = Duration::from_secs(600);

/// Makes sure that bases can be made.
pub(crate) fn prepare() -> Result<()> {
    if !engine::is_root() {
        bail!(
            "only root can make a base image with debootstrap: run as root, or pull the images where \
             a registry answers"
        );
    }
    if process::works(Command::new("debootstrap").arg("--version")) {
        return Ok(());
    }
    engine::install(&["debootstrap"]).context("debootstrap is missing, and cannot be installed")
}

/// The name of the base image of a suite, made if it isn't there. Its tarball stays in the cache.
pub(crate) fn base(engine: &Engine, suite: &str) -> Result<&'static str> {
    let image = format!("{NAME}:{suite}");
    if !process::works(engine.command().args(["image", "inspect", &image])) {
        let tarball = tarball(suite)?;
        process::run(engine.command().arg("import").arg(&tarball).arg(&image))?;
    }
    Ok(NAME)
}

fn tarball(suite: &str) -> Result<PathBuf> {
    let folder = process::cache()?.join("images");
    let tarball = folder.join(format!("debian-{suite}.tar.gz"));
    if tarball.exists() {
        return Ok(tarball);
    }
    let (root, partial) = (folder.join(suite), folder.join(format!("{suite}.partial")));
    remove(&root)?;
    fs::create_dir_all(&folder)?;
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", suite]).arg(&root);
    debootstrap.stdout(process::log(&folder, suite)?);
    process::run_within(&mut debootstrap, DEBOOTSTRAP)
        .with_context(|| format!("see {}/{suite}.log", folder.display()))?;
    let mut tar = Command::new("tar");
    tar.args(["--use-compress-program", "gzip -1", "--create", "--file"]);
    process::run(tar.arg(&partial).arg("--directory").arg(&root).arg("."))?;
    remove(&root)?;
    fs::rename(&partial, &tarball)?;
    Ok(tarball)
}

/// Removes what an earlier run was interrupted in.
fn remove(root: &Path) -> Result<()> {
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| root.display().to_string())?;
    }
    Ok(())
}
