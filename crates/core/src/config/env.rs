//! The environment as a layer: `POLYMQ_CONSUMERS__MAILER__CONCURRENCY=8`.

use super::keys::{Adapters, ROOT, Section, Shape};
use super::problem::{Origin, Problem, suggest};
use super::tree::{Node, Table, Value, insert};

const PREFIX: &str = "POLYMQ_";

/// What variables about a message in hand begin with: `polymq sub --exec` sets them for the commands
/// that it runs, which may be services with a configuration of their own.
pub const MESSAGE_PREFIX: &str = "POLYMQ_MESSAGE_";

/// What a variable says about the configuration: its name without the prefix.
pub(super) fn setting(variable: &str) -> Option<&str> {
    variable.strip_prefix(PREFIX).filter(|_| !variable.starts_with(MESSAGE_PREFIX))
}

/// Lays the variables that begin with `POLYMQ_` on the tree.
pub(super) fn apply(
    root: &mut Table,
    variables: impl IntoIterator<Item = (String, String)>,
    adapters: Adapters<'_>,
    problems: &mut Vec<Problem>,
) {
    let mut variables: Vec<_> = variables.into_iter().collect();
    variables.sort();
    for (variable, text) in variables {
        let Some(name) = setting(&variable) else {
            continue;
        };
        let name = name.to_lowercase();
        let parts: Vec<_> = name.split("__").collect();
        let origin = Origin::Env(variable.clone());
        let problem = |path: String, message: String, fix: &str| Problem {
            origin: origin.clone(),
            path,
            message,
            fix: fix.to_owned(),
        };
        let (path, shape) = match resolve(root, &parts, adapters) {
            Ok(found) => found,
            Err(message) => {
                let fix = "unset it, or name a key, with `__` between levels, such as \
                           POLYMQ_BROKER__URL";
                problems.push(problem(String::new(), message, fix));
                continue;
            }
        };
        let Some(value) = value(text, shape, &origin) else {
            let fix = "write the table inline, such as `{ key = 1 }`, or name one of its keys";
            let message = "expected a table".to_owned();
            problems.push(problem(path.join("."), message, fix));
            continue;
        };
        let node = Node { value, origin: origin.clone() };
        if let Err(part) = insert(root, &path, node) {
            let message = format!("`{part}` is set to something other than a table");
            problems.push(problem(path.join("."), message, "make it a table"));
        }
    }
}

/// The key that a variable's lowercased parts stand for.
fn resolve(
    root: &Table,
    parts: &[&str],
    adapters: Adapters<'_>,
) -> Result<(Vec<String>, Shape), String> {
    let mut path = Vec::new();
    let mut shape = Shape::Table(&ROOT);
    let mut table = Some(root);
    for &part in parts {
        let (key, next) = match shape {
            Shape::Table(section) => in_section(section, part, adapters)
                .ok_or_else(|| unknown_part(section, part, &path))?,
            Shape::Named(section) if !part.is_empty() => {
                (given_name(table, part), Shape::Table(section))
            }
            Shape::Open if !part.is_empty() => {
                let key = existing(table, part).unwrap_or_else(|| part.to_owned());
                (key, Shape::Open)
            }
            _ => return Err(format!("`{}` has no keys below it", path.join("."))),
        };
        table = table.and_then(|table| table.get(&key)).and_then(|node| match &node.value {
            Value::Table(table) => Some(table),
            _ => None,
        });
        path.push(key);
        shape = next;
    }
    Ok((path, shape))
}

fn in_section(section: &Section, part: &str, adapters: Adapters<'_>) -> Option<(String, Shape)> {
    let shape = section
        .shape(part)
        .or_else(|| (section.adapters && adapters.is_table(part)).then_some(Shape::Open))?;
    Some((part.to_owned(), shape))
}

fn unknown_part(section: &Section, part: &str, path: &[String]) -> String {
    let place =
        if path.is_empty() { "the top level".to_owned() } else { format!("`{}`", path.join(".")) };
    let hint = suggest(part, section.names())
        .map(|meant| format!("; did you mean `{meant}`?"))
        .unwrap_or_default();
    format!("fits no key: `{part}` is unknown in {place}{hint}")
}

/// The existing name that `part` stands for, or a new one.
fn given_name(table: Option<&Table>, part: &str) -> String {
    existing(table, part).unwrap_or_else(|| part.replace('_', "-"))
}

fn existing(table: Option<&Table>, part: &str) -> Option<String> {
    let normal = |name: &str| name.to_lowercase().replace('-', "_");
    table?.keys().find(|key| normal(key) == part).cloned()
}

/// Reads a variable's text as what the key holds; `None` where that is a table and this isn't.
fn value(text: String, shape: Shape, origin: &Origin) -> Option<Value> {
    match shape {
        Shape::Text => Some(Value::Text(text)),
        Shape::Texts if !text.trim_start().starts_with('[') => Some(Value::Text(text)),
        Shape::Texts | Shape::Scalar | Shape::Open => {
            Some(Value::parse(text.trim(), origin).unwrap_or(Value::Text(text)))
        }
        Shape::Table(_) | Shape::Named(_) => match Value::parse(text.trim(), origin) {
            Some(value @ Value::Table(_)) => Some(value),
            _ => None,
        },
    }
}
