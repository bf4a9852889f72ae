//! Who may know whom: an adapter knows the core and nothing else of ours, so that a service can
//! depend on the core and one adapter.

use std::fmt;

use anyhow::{Result, bail};
use cargo_metadata::{DependencyKind, Metadata};

use crate::process;

const CORE: &str = "polymq-core";
const TESTKIT: &str = "polymq-testkit";
const ADAPTERS: [&str; 4] = ["polymq-rabbitmq", "polymq-kafka", "polymq-sqs", "polymq-nats"];

pub(crate) fn run() -> Result<()> {
    let packages = of_workspace(&process::metadata(false)?);
    let violations = violations(&packages);
    for violation in &violations {
        eprintln!("{violation}");
    }
    match violations.len() {
        0 => {
            println!("{} packages know only whom they may", packages.len());
            Ok(())
        }
        n => bail!("{n} dependencies inside the workspace are not allowed"),
    }
}

/// A package of the workspace.
struct Package {
    name: String,
    /// Whether it lies in `crates/`, where the rules hold.
    library: bool,
    uses: Vec<Use>,
}

/// A dependency on another package of the workspace.
struct Use {
    name: String,
    only_in_tests: bool,
}

/// A dependency that the rules forbid, or a package that they don't speak of.
#[derive(Debug, PartialEq, Eq)]
enum Violation {
    Forbidden { package: String, uses: String },
    NoRule { package: String },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { package, uses } => write!(f, "{package} must not depend on {uses}"),
            Self::NoRule { package } => {
                write!(f, "{package} has no rule: give it one in xtask/src/adapters.rs")
            }
        }
    }
}

fn of_workspace(metadata: &Metadata) -> Vec<Package> {
    let members = metadata.workspace_packages();
    let ours = |name: &str| members.iter().any(|p| *p.name == *name);
    members
        .iter()
        .map(|package| Package {
            name: package.name.to_string(),
            library: package
                .manifest_path
                .strip_prefix(metadata.workspace_root.join("crates"))
                .is_ok(),
            uses: package
                .dependencies
                .iter()
                .filter(|d| ours(&d.name))
                .map(|d| Use {
                    name: d.name.clone(),
                    only_in_tests: d.kind == DependencyKind::Development,
                })
                .collect(),
        })
        .collect()
}

/// What the package may use: always, and in its tests besides. `None` where there is no rule.
fn rule(package: &str) -> Option<(&'static [&'static str], &'static [&'static str])> {
    const FACADE: &[&str] = &[CORE, ADAPTERS[0], ADAPTERS[1], ADAPTERS[2], ADAPTERS[3]];
    Some(match package {
        CORE => (&[], &[]),
        TESTKIT => (&[CORE], &[]),
        "polymq" => (FACADE, &[TESTKIT]),
        "polymq-cli" => (&["polymq"], &[TESTKIT]),
        adapter if ADAPTERS.contains(&adapter) => (&[CORE], &[TESTKIT]),
        _ => return None,
    })
}

fn violations(packages: &[Package]) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in packages.iter().filter(|p| p.library) {
        let Some((always, in_tests)) = rule(&package.name) else {
            found.push(Violation::NoRule { package: package.name.clone() });
            continue;
        };
        for used in &package.uses {
            let name = used.name.as_str();
            let allowed =
                always.contains(&name) || (used.only_in_tests && in_tests.contains(&name));
            if !allowed {
                found.push(Violation::Forbidden {
                    package: package.name.clone(),
                    uses: used.name.clone(),
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, uses: &[(&str, bool)]) -> Package {
        Package {
            name: name.to_owned(),
            library: true,
            uses: uses
                .iter()
                .map(|&(name, only_in_tests)| Use { name: name.to_owned(), only_in_tests })
                .collect(),
        }
    }

    fn forbidden(package: &str, uses: &str) -> Violation {
        Violation::Forbidden { package: package.to_owned(), uses: uses.to_owned() }
    }

    #[test]
    fn the_intended_workspace_breaks_no_rule() {
        let mut packages = vec![
            package(CORE, &[]),
            package(TESTKIT, &[(CORE, false)]),
            package("polymq", &[(CORE, false), ("polymq-kafka", false)]),
        ];
        for adapter in ADAPTERS {
            packages.push(package(adapter, &[(CORE, false), (TESTKIT, true)]));
        }
        assert_eq!(violations(&packages), []);
    }

    #[test]
    fn an_adapter_knows_neither_the_facade_nor_another_adapter_even_in_tests() {
        let kafka = package("polymq-kafka", &[("polymq", true), ("polymq-nats", false)]);
        assert_eq!(
            violations(&[kafka]),
            [forbidden("polymq-kafka", "polymq"), forbidden("polymq-kafka", "polymq-nats"),]
        );
    }

    #[test]
    fn the_testkit_is_for_an_adapters_tests_only() {
        let sqs = package("polymq-sqs", &[(CORE, false), (TESTKIT, false)]);
        assert_eq!(violations(&[sqs]), [forbidden("polymq-sqs", TESTKIT)]);
    }

    #[test]
    fn the_core_knows_nobody() {
        let core = package(CORE, &[(TESTKIT, true)]);
        assert_eq!(violations(&[core]), [forbidden(CORE, TESTKIT)]);
    }

    #[test]
    fn a_new_library_needs_a_rule_but_a_tool_does_not() {
        let library = package("polymq-new", &[]);
        let tool = Package { library: false, ..package("xtask", &[(CORE, false)]) };
        assert_eq!(
            violations(&[library, tool]),
            [Violation::NoRule { package: "polymq-new".to_owned() }]
        );
    }

    #[test]
    fn this_workspace_is_read_with_its_folders() {
        let packages = of_workspace(&process::metadata(false).unwrap());
        let library = |name| packages.iter().find(|p| p.name == name).map(|p| p.library);
        assert_eq!((library(CORE), library("xtask")), (Some(true), Some(false)));
    }
}
