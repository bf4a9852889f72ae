use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::{Error, ErrorKind};

/// Where a setting comes from.
///
/// Orders as a reader meets them: files by name, line and column, then the environment, then code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// A file as a whole, which could not be read.
    Unread(String),
    /// A place in a file.
    File {
        /// The file, as the caller named it.
        name: String,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
    },
    /// An environment variable.
    Env(String),
    /// [`ConfigBuilder::set`](super::ConfigBuilder::set), or a default.
    Code,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Self::Unread(name) => f.write_str(name),
            Self::Env(variable) => write!(f, "environment variable {variable}"),
            Self::Code => f.write_str("code"),
        }
    }
}

/// One thing that is wrong with a configuration: where, what and why, and what to do about it.
///
/// Never holds a secret. Prints as one line:
///
/// ```text
/// polymq.toml:12:3: consumers.mailer.concurrency: 0 is out of range; fix: use 1 to 65536
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where the setting comes from; of a missing one, where its table begins.
    pub origin: Origin,
    /// The dotted key; empty when the problem is the file's.
    pub path: String,
    /// What is wrong, and why.
    pub message: String,
    /// What to do about it; empty when the message says it.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if !self.fix.is_empty() {
            write!(f, "; fix: {}", self.fix)?;
        }
        Ok(())
    }
}

impl StdError for Problem {}

/// All problems of a configuration, in the order in which a reader meets them.
///
/// Prints one problem per line, and becomes an [`Error`] of kind
/// [`Config`](ErrorKind::Config) whose message holds all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Problem>);

impl ConfigErrors {
    /// Sorts the problems; `None` when there are none.
    #[must_use]
    pub fn from_problems(mut problems: Vec<Problem>) -> Option<Self> {
        problems.sort_by(|a, b| a.origin.cmp(&b.origin));
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// The problems; at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl StdError for ConfigErrors {}

impl From<ConfigErrors> for Error {
    fn from(errors: ConfigErrors) -> Self {
        let count = match errors.0.len() {
            1 => "the configuration has a problem".to_owned(),
            n => format!("the configuration has {n} problems"),
        };
        Self::new(ErrorKind::Config, format!("{count}\n{errors}"))
    }
}

/// Where each key of a merged configuration comes from.
#[derive(Debug, Clone)]
pub(super) struct Origins {
    root: Origin,
    by_path: BTreeMap<String, Origin>,
}

impl Origins {
    pub(super) fn new(root: Origin) -> Self {
        Self { root, by_path: BTreeMap::new() }
    }

    pub(super) fn insert(&mut self, path: String, origin: Origin) {
        self.by_path.insert(path, origin);
    }

    /// Whether the key was given, rather than defaulted.
    pub(super) fn contains(&self, path: &str) -> bool {
        self.by_path.contains_key(path)
    }

    /// The origin of the key, or of the nearest table around it.
    pub(super) fn locate(&self, mut path: &str) -> &Origin {
        loop {
            if let Some(origin) = self.by_path.get(path) {
                return origin;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return &self.root,
            }
        }
    }

    pub(super) fn problem(
        &self,
        path: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Problem {
        let path = path.into();
        Problem {
            origin: self.locate(&path).clone(),
            path,
            message: message.into(),
            fix: fix.into(),
        }
    }
}

/// What a pass over a configuration has found so far.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) origins: Arc<Origins>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

impl Findings {
    pub(super) fn problem(
        &mut self,
        path: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.problems.push(self.origins.problem(path, message, fix));
    }

    /// Notes an error as a problem; its help is the fix.
    pub(super) fn refuse(&mut self, path: impl Into<String>, error: &Error) {
        let fix = error.help().unwrap_or_default();
        self.problem(path, error.message(), fix);
    }

    pub(super) fn warning(
        &mut self,
        path: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.warnings.push(self.origins.problem(path, message, fix));
    }
}

/// The known word that `word` was probably meant to be.
pub(super) fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |k| strsim::normalized_damerau_levenshtein(word, k);
    known
        .into_iter()
        .map(|k| (likeness(k), k))
        .filter(|(likeness, _)| *likeness > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

/// The message and fix for a word that is not among the known ones.
pub(crate) fn unknown<'a>(
    what: &str,
    word: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> (String, String) {
    if let Some(meant) = suggest(word, known.clone()) {
        return (format!("{what}; did you mean `{meant}`?"), String::new());
    }
    let known: Vec<_> = known.into_iter().collect();
    let fix = match known.as_slice() {
        [] => String::new(),
        known => format!("use one of {}", known.join(", ")),
    };
    (what.to_owned(), fix)
}
