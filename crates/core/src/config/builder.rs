use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keys::Adapters;
use super::problem::{Findings, Origin, Problem};
use super::tree::{self, Node, Table};
use super::{Config, ConfigErrors, Setting, env, read};
use crate::broker::Adapter;
use crate::{Error, Result};

/// Builds a [`Config`] from layers: files, then the environment, then code.
///
/// A later layer overrides an earlier one key by key, in that order whatever the order of the
/// calls; layers of one sort apply in the order of the calls. A list is replaced as a whole.
///
/// ```
/// use polymq_core::config::Config;
///
/// let config = Config::builder()
///     .text("polymq.toml", "[broker]\nurl = 'memory://'\n[channels.emails]\nkind = 'queue'")
///     .vars([("POLYMQ_CONSUMERS__MAILER__CHANNEL", "emails")])
///     .set("consumers.mailer.concurrency", 8)
///     .build()?;
/// assert_eq!(config.consumers["mailer"].concurrency, 8);
/// # Ok::<(), polymq_core::Error>(())
/// ```
#[derive(Default)]
pub struct ConfigBuilder {
    files: Vec<File>,
    variables: Vec<(String, String)>,
    settings: Vec<(String, Setting)>,
    adapters: Option<Vec<Arc<dyn Adapter>>>,
    problems: Vec<Problem>,
}

enum File {
    Path(PathBuf),
    Text { name: String, text: String },
}

impl ConfigBuilder {
    /// Adds a TOML file, read when the configuration is built.
    #[must_use]
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        self.files.push(File::Path(path.as_ref().to_owned()));
        self
    }

    /// Adds TOML text; `name` stands for the file in problems.
    #[must_use]
    pub fn text(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        let (name, text) = (name.into(), text.into());
        self.files.push(File::Text { name, text });
        self
    }

    /// Adds this process's environment variables that begin with `POLYMQ_`, as they are now.
    ///
    /// `__` separates the levels of a key: `POLYMQ_CONSUMERS__MAILER__RETRY__DELAYED=3`. Letters
    /// are lowercased, and `_` stands for `-` in names. Text is taken as it is; numbers, booleans,
    /// lists and whole tables are written as in TOML. In an adapter's table, what reads as TOML is
    /// TOML: there, text that looks like a number is quoted. A variable that fits no key is a
    /// problem, except those that begin with [`MESSAGE_PREFIX`](super::MESSAGE_PREFIX).
    #[must_use]
    pub fn env(mut self) -> Self {
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| env::setting(name).is_some()) else {
                continue;
            };
            match value.into_string() {
                Ok(value) => self.variables.push((name.to_owned(), value)),
                Err(_) => self.problems.push(Problem {
                    origin: Origin::Env(name.to_owned()),
                    path: String::new(),
                    message: "not UTF-8".to_owned(),
                    fix: "set it to text, or unset it".to_owned(),
                }),
            }
        }
        self
    }

    /// Adds variables as [`env`](Self::env) does, from elsewhere.
    #[must_use]
    pub fn vars<N: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(n, v)| (n.into(), v.into()));
        self.variables.extend(variables);
        self
    }

    /// Sets one dotted key, over files and environment.
    #[must_use]
    pub fn set(mut self, path: impl Into<String>, value: impl Into<Setting>) -> Self {
        self.settings.push((path.into(), value.into()));
        self
    }

    /// Says which adapters there are, so that URL schemes and the adapters' own tables are checked.
    /// Without it they are not: for tools that only look at a configuration.
    #[must_use]
    pub fn adapters(mut self, adapters: &[Arc<dyn Adapter>]) -> Self {
        self.adapters = Some(adapters.to_vec());
        self
    }

    /// Reads all layers and checks the whole.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), whose message holds every problem, one per
    /// line. Never a secret.
    pub fn build(self) -> Result<Config> {
        self.check().map_err(Error::from)
    }

    /// [`build`](Self::build), with the problems as data.
    ///
    /// # Errors
    /// Every problem, in the order in which a reader meets them.
    pub fn check(mut self) -> Result<Config, ConfigErrors> {
        let mut root = Table::new();
        let mut whole = None;
        for file in std::mem::take(&mut self.files) {
            match file.read() {
                Ok((table, origin)) => {
                    whole.get_or_insert(origin);
                    tree::merge(&mut root, table);
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        // What a file would have said is unknown: more problems would only be guesses.
        if let Some(errors) = ConfigErrors::from_problems(self.problems.clone()) {
            return Err(errors);
        }
        let adapters = Adapters { registered: self.adapters.as_deref() };
        env::apply(&mut root, self.variables, adapters, &mut self.problems);
        for (path, Setting(value)) in self.settings {
            let parts: Vec<_> = path.split('.').map(str::to_owned).collect();
            let origin = Origin::Code;
            if let Err(part) = tree::insert(&mut root, &parts, Node { value, origin }) {
                self.problems.push(Problem {
                    origin: Origin::Code,
                    path,
                    message: format!("`{part}` is set to something other than a table"),
                    fix: "make it a table".to_owned(),
                });
            }
        }
        let origins = tree::origins(&root, whole.unwrap_or(Origin::Code));
        let findings =
            Findings { origins: Arc::new(origins), problems: self.problems, warnings: Vec::new() };
        read::read(&root, findings, adapters)
    }
}

impl File {
    fn read(self) -> Result<(Table, Origin), Problem> {
        let (name, text) = match self {
            Self::Text { name, text } => (name, text),
            Self::Path(path) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(&path).map_err(|e| unreadable(&path, &e))?;
                (name, text)
            }
        };
        tree::parse(&name, &text)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    let looked_at = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (message, fix) = if error.kind() == std::io::ErrorKind::NotFound {
        ("no such file".to_owned(), "create it, or name another file")
    } else {
        (format!("cannot be read: {error}"), "make it readable")
    };
    Problem {
        origin: Origin::Unread(looked_at.display().to_string()),
        path: String::new(),
        message,
        fix: fix.to_owned(),
    }
}

impl fmt::Debug for ConfigBuilder {
    /// Shows no values: they may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigBuilder")
            .field("files", &self.files.len())
            .field("adapters", &self.adapters)
            .finish_non_exhaustive()
    }
}
