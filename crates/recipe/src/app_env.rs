//! The environment of an app, put together as `abra app deploy` does.
//!
//! The one rule to know: exports of `abra.sh` win over the env file, because they carry the versions of configs that belong to this commit.
//! They never win over DOMAIN, STACK_NAME and COMPOSE_FILE.

use crate::abra_sh;
use crate::env::EnvSample;
use crate::finding::{Finding, Place, Severity};
use crate::interpolate::Env;
use crate::tree::{Tree, TreeError};

/// Longest stack name that abra makes.
const MAX_STACK: usize = 45;

/// The variables of an app: the values in use of `.env.sample`, expanded; `overrides` in place of them; then the exports of `abra.sh`.
/// The caller puts DOMAIN, STACK_NAME and whatever else a run decides into `overrides`.
pub fn app_env(tree: &Tree, overrides: &Env) -> (Env, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut env = match tree.text(".env.sample") {
        Ok(text) => {
            let sample = EnvSample::parse(".env.sample", text);
            findings.extend(sample.findings.clone());
            sample.expand(overrides)
        }
        Err(error) => {
            findings.push(file_finding(
                "E003",
                ".env.sample",
                &error,
                "every recipe needs one: abra copies it for a new app",
            ));
            overrides.clone()
        }
    };
    match tree.text("abra.sh") {
        Ok(text) => {
            let (exports, more) = abra_sh::exports("abra.sh", text);
            findings.extend(more);
            for export in exports {
                // The caller alone decides what the app is called: else a pull request could take another app's host name.
                if ["DOMAIN", "STACK_NAME", "COMPOSE_FILE"].contains(&export.name.as_str()) {
                    let message = format!(
                        "abra.sh exports {}, which belongs to the app and not to the recipe; it is ignored",
                        export.name
                    );
                    findings.push(Finding::warning(
                        "E013",
                        &Place::new("abra.sh", export.line),
                        message,
                        "remove the export",
                    ));
                } else {
                    env.insert(export.name, export.value);
                }
            }
        }
        Err(TreeError::Missing(_)) => {}
        Err(error) => findings.push(file_finding("E004", "abra.sh", &error, "commit it as a plain text file")),
    }
    (env, findings)
}

/// The compose files that an app selects with `COMPOSE_FILE` (a colon list), by default `compose.yml`.
pub fn compose_files(env: &Env) -> Vec<String> {
    let listed = env.get("COMPOSE_FILE").map(String::as_str).unwrap_or_default();
    let files: Vec<String> =
        listed.split(':').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if files.is_empty() { vec!["compose.yml".into()] } else { files }
}

/// The stack name that abra makes from a domain: `.` becomes `_`, cut to 45 characters.
pub fn stack_name(domain: &str) -> String {
    domain.replace('.', "_").chars().take(MAX_STACK).collect()
}

fn file_finding(code: &'static str, file: &str, error: &TreeError, remedy: &str) -> Finding {
    Finding {
        code: code.into(),
        severity: Severity::Error,
        file: file.into(),
        line: 0,
        message: error.to_string(),
        remedy: remedy.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn exports_win_over_the_sample_and_the_overrides() {
        let tree: Tree = [
            (".env.sample", "DOMAIN=x.example.com\nCOMPOSE_FILE=\"compose.yml\"\nCOMPOSE_FILE=\"$COMPOSE_FILE:compose.db.yml\"\nENTRY_VERSION=v1\n"),
            ("abra.sh", "export ENTRY_VERSION=v4\n"),
        ]
        .into_iter()
        .collect();
        let (got, findings) = app_env(&tree, &env(&[("DOMAIN", "a.ci"), ("ENTRY_VERSION", "v2")]));
        assert_eq!(
            got,
            env(&[("DOMAIN", "a.ci"), ("COMPOSE_FILE", "compose.yml:compose.db.yml"), ("ENTRY_VERSION", "v4")])
        );
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!(compose_files(&got), ["compose.yml", "compose.db.yml"]);
    }

    #[test]
    fn exports_cannot_rename_the_app() {
        let tree: Tree = [
            (".env.sample", "DOMAIN=x.example.com\n"),
            ("abra.sh", "export DOMAIN=bank.coop\nexport STACK_NAME=bank\nexport A=1\n"),
        ]
        .into_iter()
        .collect();
        let (got, findings) = app_env(&tree, &env(&[("DOMAIN", "a.ci"), ("STACK_NAME", "a_ci")]));
        assert_eq!(got, env(&[("A", "1"), ("DOMAIN", "a.ci"), ("STACK_NAME", "a_ci")]));
        assert_eq!(findings.iter().map(|f| (f.code.as_ref(), f.line)).collect::<Vec<_>>(), [("E013", 1), ("E013", 2)]);
    }

    #[test]
    fn a_missing_sample_is_a_finding() {
        let (got, findings) = app_env(&Tree::new(), &env(&[("A", "1")]));
        assert_eq!(got, env(&[("A", "1")]));
        assert_eq!(findings.iter().map(|f| f.code.as_ref()).collect::<Vec<_>>(), ["E003"]);
        assert_eq!(compose_files(&got), ["compose.yml"]);
    }

    #[test]
    fn stack_names() {
        assert_eq!(stack_name("blog.example.com"), "blog_example_com");
        assert_eq!(stack_name(&format!("{}.org", "x".repeat(60))).len(), 45);
    }
}
