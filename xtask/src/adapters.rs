//! Who may know whom: an adapter knows the core and nothing else of ours, so that a service can
//! depend on the core and one adapter. The façade and the testkit know adapters behind features
//! only, so that who asks for none gets none.

use std::fmt;

use anyhow::{Result, bail};
use cargo_metadata::{DependencyKind, Metadata};

use crate::process;

const CORE: &str = "polymq-core";
const TESTKIT: &str = "polymq-testkit";
const FACADE: &str = "polymq";
const CLI: &str = "polymq-cli";
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
    how: How,
}

/// When a package uses another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Always,
    /// Behind a feature.
    Optionally,
    InTests,
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
                    how: match d.kind {
                        DependencyKind::Development => How::InTests,
                        _ if d.optional => How::Optionally,
                        _ => How::Always,
                    },
                })
                .collect(),
        })
        .collect()
}

/// What a package may use.
struct Rule {
    /// Always, and so behind a feature and in tests, too.
    always: &'static [&'static str],
    optionally: &'static [&'static str],
    in_tests: &'static [&'static str],
}

impl Rule {
    /// The rule for a package; `None` where there is none.
    fn of(package: &str) -> Option<Self> {
        let rule = |always, optionally, in_tests| Some(Self { always, optionally, in_tests });
        match package {
            CORE => rule(&[], &[], &[]),
            TESTKIT => rule(&[CORE], &ADAPTERS, &[]),
            FACADE => rule(&[CORE], &ADAPTERS, &[TESTKIT]),
            CLI => rule(&[FACADE, CORE], &[], &[TESTKIT]),
            adapter if ADAPTERS.contains(&adapter) => rule(&[CORE], &[], &[TESTKIT]),
            _ => None,
        }
    }

    fn allows(&self, used: &Use) -> bool {
        let is_in = |names: &[&str]| names.contains(&used.name.as_str());
        is_in(self.always)
            || (used.how == How::Optionally && is_in(self.optionally))
            || (used.how == How::InTests && (is_in(self.optionally) || is_in(self.in_tests)))
    }
}

fn violations(packages: &[Package]) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in packages.iter().filter(|p| p.library) {
        let Some(rule) = Rule::of(&package.name) else {
            found.push(Violation::NoRule { package: package.name.clone() });
            continue;
        };
        let forbidden = package.uses.iter().filter(|used| !rule.allows(used));
        found.extend(forbidden.map(|used| Violation::Forbidden {
            package: package.name.clone(),
            uses: used.name.clone(),
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::How::{Always, InTests, Optionally};
    use super::*;

    fn package(name: &str, uses: &[(&str, How)]) -> Package {
        let uses = uses.iter().map(|&(name, how)| Use { name: name.to_owned(), how });
        Package { name: name.to_owned(), library: true, uses: uses.collect() }
    }

    fn forbidden(package: &str, uses: &str) -> Violation {
        Violation::Forbidden { package: package.to_owned(), uses: uses.to_owned() }
    }

    #[test]
    fn the_intended_workspace_breaks_no_rule() {
        let mut packages = vec![
            package(CORE, &[]),
            package(TESTKIT, &[(CORE, Always), ("polymq-kafka", Optionally)]),
            package(FACADE, &[(CORE, Always), ("polymq-kafka", Optionally), (TESTKIT, InTests)]),
            package(CLI, &[(FACADE, Always), (TESTKIT, InTests)]),
        ];
        for adapter in ADAPTERS {
            packages.push(package(adapter, &[(CORE, Always), (TESTKIT, InTests)]));
        }
        assert_eq!(violations(&packages), []);
    }

    #[test]
    fn an_adapter_knows_neither_the_facade_nor_another_adapter_even_in_tests() {
        let kafka = package("polymq-kafka", &[(FACADE, InTests), ("polymq-nats", Optionally)]);
        assert_eq!(
            violations(&[kafka]),
            [forbidden("polymq-kafka", FACADE), forbidden("polymq-kafka", "polymq-nats"),]
        );
    }

    #[test]
    fn who_asks_the_testkit_or_the_facade_for_no_adapter_gets_none() {
        for name in [TESTKIT, FACADE] {
            let eager = package(name, &[("polymq-rabbitmq", Always)]);
            assert_eq!(violations(&[eager]), [forbidden(name, "polymq-rabbitmq")]);
        }
    }

    #[test]
    fn the_testkit_is_for_an_adapters_tests_only() {
        let sqs = package("polymq-sqs", &[(CORE, Always), (TESTKIT, Optionally)]);
        assert_eq!(violations(&[sqs]), [forbidden("polymq-sqs", TESTKIT)]);
    }

    #[test]
    fn the_core_knows_nobody() {
        let core = package(CORE, &[(TESTKIT, InTests)]);
        assert_eq!(violations(&[core]), [forbidden(CORE, TESTKIT)]);
    }

    #[test]
    fn a_new_library_needs_a_rule_but_a_tool_does_not() {
        let library = package("polymq-new", &[]);
        let tool = Package { library: false, ..package("xtask", &[(CORE, Always)]) };
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
