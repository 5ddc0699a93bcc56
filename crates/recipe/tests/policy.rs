//! Every recipe under `fixtures/policy`, judged. A line says what is expected of it in a comment: `# error P001`, `# warn P031`, `# note C011`.
//! The findings must be exactly the marked ones.
#![allow(clippy::unwrap_used, reason = "a broken fixture should end the test at once")]

mod common;

use std::collections::BTreeSet;

use common::{fixture, fixtures, overlays_of, plan_fixture, policy_of};
use recipe::{Entry, Finding, Severity, Tree};

type Seen = BTreeSet<(String, String, usize)>;

#[test]
fn every_recipe_is_judged_as_marked() {
    let names = fixtures();
    assert!(names.len() >= 80, "only {} fixtures found", names.len());
    let mut wrong = Vec::new();
    for name in &names {
        let tree = fixture(name);
        let expected = marks(&tree);
        let result = plan_fixture(&tree);
        let findings: &[Finding] = match &result {
            Ok(plan) => &plan.findings,
            Err(refusal) => &refusal.findings,
        };
        let seen: Seen =
            findings.iter().map(|f| (format!("{} {}", word(f.severity), f.code), f.file.clone(), f.line)).collect();
        if seen != expected {
            wrong.push(format!(
                "{name}:\n  missing {:?}\n  surplus {:?}",
                expected.difference(&seen).collect::<Vec<_>>(),
                seen.difference(&expected).collect::<Vec<_>>()
            ));
        }
        let refused = expected.iter().any(|(what, ..)| what.starts_with("error"));
        assert_eq!(result.is_err(), refused, "{name}");
        if name.starts_with("ok-") {
            assert!(result.is_ok(), "{name} must pass");
        }
        let named = name.split('-').next().unwrap();
        let coded = named.len() == 4 && named[1..].bytes().all(|b| b.is_ascii_digit());
        assert!(
            !coded || named == "P025" || expected.iter().any(|(what, ..)| what.ends_with(named)),
            "{name} must expect its own code"
        );
        for finding in findings {
            assert!(
                !finding.message.is_empty() && (finding.code.starts_with('C') || !finding.remedy.is_empty()),
                "{name}: {finding}"
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_a_fixture() {
    let marked: BTreeSet<String> =
        fixtures().iter().flat_map(|name| marks(&fixture(name))).map(|(what, ..)| what).collect();
    for rule in recipe::policy::Rule::ALL {
        assert!(marked.iter().any(|what| what.ends_with(rule.code())), "no fixture expects {} ({rule:?})", rule.code());
    }
}

#[test]
fn waivers_are_what_lets_a_recipe_pass() {
    let mut tree = fixture("ok-waived");
    tree.insert("policy.json", "{}");
    let refusal = plan_fixture(&tree).unwrap_err();
    let codes: BTreeSet<&str> = refusal.errors().map(|finding| finding.code.as_ref()).collect();
    assert_eq!(
        codes,
        BTreeSet::from([
            "P001", "P014", "P015", "P027", "P033", "P037", "P043", "P044", "C010", "P002", "P003", "P004", "P019",
            "P023", "P035"
        ])
    );
    assert!(policy_of(&tree).binds.is_empty() && overlays_of(&tree).is_empty());
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warn",
        Severity::Note => "note",
    }
}

fn marks(tree: &Tree) -> Seen {
    let mut marks = Seen::new();
    for (file, entry) in tree.iter() {
        let Entry::File(bytes) = entry else { continue };
        for (number, line) in String::from_utf8_lossy(bytes).lines().enumerate() {
            let words: Vec<&str> =
                line.rsplit_once('#').map(|(_, comment)| comment.split_whitespace().collect()).unwrap_or_default();
            for pair in words.windows(2).filter(|pair| ["error", "warn", "note"].contains(&pair[0])) {
                marks.insert((pair.join(" "), file.to_owned(), number + 1));
            }
        }
    }
    marks
}
