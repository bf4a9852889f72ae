use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::{Context, Result};

/// A Dockerfile with what it needs.
#[derive(Clone)]
pub(super) struct Recipe {
    pub(super) folder: PathBuf,
    pub(super) files: Vec<PathBuf>,
    /// Changes with any of the files.
    pub(super) hash: String,
}

impl Recipe {
    pub(super) fn read(folder: PathBuf) -> Result<Self> {
        let mut files: Vec<_> = fs::read_dir(&folder)
            .with_context(|| folder.display().to_string())?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.retain(|file| file.is_file());
        files.sort_unstable();
        let mut hasher = DefaultHasher::new();
        for file in &files {
            fs::read(file).with_context(|| file.display().to_string())?.hash(&mut hasher);
        }
        Ok(Self { folder, files, hash: format!("{:016x}", hasher.finish()) })
    }
}
