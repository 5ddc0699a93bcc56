//! The corpus of comment bodies, and what must hold for every text.

use cc_ci::bridge::commands::{Command, Understood, explain, understand};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Corpus {
    commands: Vec<String>,
    group: Vec<Group>,
    frame: Vec<Frame>,
}

#[derive(Deserialize)]
struct Group {
    about: String,
    want: String,
    bodies: Vec<String>,
}

#[derive(Deserialize)]
struct Frame {
    before: String,
    after: String,
    want: String,
}

fn corpus() -> Corpus {
    toml::from_str(include_str!("../data/comments.toml")).unwrap()
}

fn name(understood: &Understood) -> String {
    match understood {
        Understood::Command(Command::Test { commit: None }) => "test".into(),
        Understood::Command(Command::Test { commit: Some(commit) }) => format!("test:{}", commit.as_str()),
        Understood::Command(Command::Retest) => "retest".into(),
        Understood::Command(Command::Cancel) => "cancel".into(),
        Understood::None => "none".into(),
        Understood::NearMiss { .. } => "near".into(),
        Understood::Refused { .. } => "refused".into(),
    }
}

/// What a command of the corpus means, read off its text without the parser's help.
fn meaning(command: &str) -> String {
    match command.split_once(' ') {
        Some((_, commit)) => format!("test:{commit}"),
        None => command.replace("!testme", "test").replace('!', ""),
    }
}

#[test]
fn every_body_of_the_corpus_is_understood_as_written_there() {
    let corpus = corpus();
    let mut wrong = Vec::new();
    let mut bodies = std::collections::BTreeSet::new();
    let mut check = |about: &str, body: &str, want: &str| {
        bodies.insert(body.to_owned());
        let explanation = explain(body);
        if name(&explanation.result) != want {
            wrong.push(format!("{about}: {body:?}: want {want}, got\n{explanation}"));
        }
    };
    for group in &corpus.group {
        for body in &group.bodies {
            check(&group.about, body, &group.want);
        }
    }
    for frame in &corpus.frame {
        for command in &corpus.commands {
            let want = if frame.want == "same" { meaning(command) } else { frame.want.clone() };
            let body = format!("{}{command}{}", frame.before, frame.after);
            for line_end in ["\n", "\r\n", "\r", "\u{85}", "\u{2028}", "\u{2029}"] {
                check("frame", &body.replace('\n', line_end), &want);
            }
        }
    }
    let by_hand: usize = corpus.group.iter().map(|group| group.bodies.len()).sum();
    assert!(by_hand >= 300, "{by_hand} bodies by hand");
    assert!(bodies.len() >= 900, "{} bodies", bodies.len());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn an_explanation_says_why_and_serialises() {
    let explanation = explain("> !testme\n\n!testme abc");
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["understood"], "near_miss");
    assert_eq!(json["lines"][0]["place"], "quote");
    assert_eq!(json["lines"][1]["line"], 3);
    assert_eq!(json["lines"][1]["is_command"], false);
    let hidden = explain("!te\u{200b}stme");
    assert_eq!(hidden.lines[0].text, "!te\\u{200b}stme");
    assert_eq!(understand(&format!("{}\n!testme", "a".repeat(70_000))), Understood::None);
}

/// Texts made of the pieces that matter, so that chance finds their combinations.
pub(crate) fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "!testme",
        "!testme 0123456789ab",
        "!retest",
        "!cancel",
        "!testmexyz",
        "text",
        "\n",
        "\n\n",
        "> ",
        "    ",
        "\t",
        "```",
        "~~~",
        "`",
        "<!--",
        "-->",
        "<div>",
        "</div>",
        "- ",
        "1. ",
        "# ",
        "===",
        "---",
        "*",
        "**",
        "[",
        "](x)",
        "![",
        "$$",
        "|",
        "\\",
        " ",
        "  \n",
        "&",
        "\u{200b}",
        "é",
        "[^1]: ",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn line_ends_make_no_difference(body in pieces(), end in prop::sample::select(vec!["\r\n", "\r", "\u{85}", "\u{2028}"])) {
        prop_assert_eq!(understand(&body), understand(&body.replace('\n', end)));
    }

    #[test]
    fn quoting_takes_every_command_away(body in pieces()) {
        let quoted: String = body.split('\n').map(|line| format!("> {line}\n")).collect();
        prop_assert_eq!(understand(&quoted), Understood::None);
    }

    #[test]
    fn fencing_takes_every_command_away(body in pieces()) {
        // Longer than any fence that the pieces can make.
        let fence = "`".repeat(100);
        let fenced = format!("{fence}\n{body}\n{fence}");
        prop_assert_eq!(understand(&fenced), Understood::None);
    }

    #[test]
    fn trailing_blanks_make_no_difference(body in pieces(), blanks in "[ \t]{0,3}") {
        // Two blanks at a line's end are a line break, which changes the look but not the lines.
        let padded: String = body.split('\n').map(|line| format!("{line}{blanks}\n")).collect();
        let plain = format!("{body}\n");
        let (a, b) = (understand(&plain), understand(&padded));
        prop_assert_eq!(matches!(a, Understood::Command(_)), matches!(b, Understood::Command(_)), "{:?} {:?}", a, b);
    }

    #[test]
    fn a_command_is_always_a_whole_line_of_the_source(body in pieces()) {
        if let Understood::Command(command) = understand(&body) {
            let found = body.split('\n').filter(|line| {
                let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
                words.join(" ") == command.to_string()
            });
            prop_assert!(found.count() >= 1, "{:?}", command);
        }
    }

    #[test]
    fn no_text_makes_it_panic(body in "\\PC{0,200}|(?s).{0,200}") {
        let explanation = explain(&body);
        prop_assert!(explanation.to_string().len() < 20_000);
    }
}
