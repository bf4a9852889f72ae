use polymq::config::{Origin, Problem};
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Error,
    Warning,
}

/// A problem as a line of output.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    /// The environment variable that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    variable: Option<String>,
    /// The dotted key; empty when the problem is the file's.
    key: String,
    message: String,
    fix: String,
    #[serde(skip)]
    origin: String,
}

impl Finding {
    pub(super) fn error(problem: &Problem) -> Self {
        Self::new(Severity::Error, problem)
    }

    pub(super) fn warning(problem: &Problem) -> Self {
        Self::new(Severity::Warning, problem)
    }

    fn new(severity: Severity, problem: &Problem) -> Self {
        let mut finding = Self {
            severity,
            file: None,
            line: None,
            column: None,
            variable: None,
            key: problem.path.clone(),
            message: problem.message.clone(),
            fix: problem.fix.clone(),
            origin: problem.origin.to_string(),
        };
        match &problem.origin {
            Origin::File { name, line, column } => {
                finding.file = Some(name.clone());
                (finding.line, finding.column) = (Some(*line), Some(*column));
            }
            Origin::Unread(name) => finding.file = Some(name.clone()),
            Origin::Env(variable) => finding.variable = Some(variable.clone()),
            _ => {}
        }
        finding
    }

    pub(super) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    pub(super) fn row(&self) -> [String; 4] {
        let severity = if self.is_error() { "error" } else { "warning" };
        let place = match self.key.is_empty() {
            true => self.origin.clone(),
            false => format!("{}\n{}", self.origin, self.key),
        };
        [severity.to_owned(), place, self.message.clone(), self.fix.clone()]
    }
}
