use std::path::{Path, PathBuf};

use polymq_core::Result;
use polymq_core::config::{Config, ConfigBuilder};

/// What a test can take its configuration from: a file's path, a builder, or a finished one.
///
/// The environment is not read, unless a builder does: a test means the same on every machine.
pub trait Configuration {
    /// Reads it.
    ///
    /// # Errors
    /// `Config`, with every problem.
    fn read(self) -> Result<Config>;
}

impl Configuration for Config {
    fn read(self) -> Result<Config> {
        Ok(self)
    }
}

impl Configuration for ConfigBuilder {
    fn read(self) -> Result<Config> {
        self.build()
    }
}

impl Configuration for &str {
    fn read(self) -> Result<Config> {
        Path::new(self).read()
    }
}

impl Configuration for &Path {
    fn read(self) -> Result<Config> {
        Config::builder().file(self).build()
    }
}

impl Configuration for PathBuf {
    fn read(self) -> Result<Config> {
        self.as_path().read()
    }
}
