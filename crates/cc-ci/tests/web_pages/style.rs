//! The colours of the style sheet: every pair that is used has the contrast that WCAG 2.2 AA asks for, in each scheme.

use std::collections::BTreeMap;

/// What stands on what as text: 4.5 to 1.
const TEXT: &[(&str, &[&str])] = &[
    ("ink", &["ground", "paper", "good-g", "bad-g", "warn-g", "busy-g", "none-g"]),
    ("soft", &["ground", "paper", "good-g", "bad-g", "warn-g", "busy-g", "none-g"]),
    ("link", &["ground", "paper", "good-g", "bad-g", "warn-g", "busy-g", "none-g"]),
    ("good", &["ground", "paper", "good-g"]),
    ("bad", &["ground", "paper", "bad-g"]),
    ("warn", &["ground", "paper", "warn-g"]),
    ("busy", &["ground", "paper", "busy-g"]),
    ("none", &["paper"]),
    ("log-ink", &["log"]),
    ("on-busy", &["busy"]),
];

/// What can be seen on what as a shape, an edge of a field, or the ring around what has the focus: 3 to 1.
const SHAPES: &[(&str, &[&str])] = &[
    ("good", &["paper", "track"]),
    ("bad", &["paper", "track"]),
    ("warn", &["paper", "track"]),
    ("busy", &["paper", "track"]),
    ("none", &["paper", "ground", "track"]),
    // The ring stands outside of what it is around, and so never on a log.
    ("focus", &["paper", "ground", "busy-g", "good-g", "bad-g", "warn-g"]),
];

type Colours = BTreeMap<String, [f64; 3]>;

fn sheet() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/web-assets/style.css");
    std::fs::read_to_string(path).unwrap()
}

/// The custom properties of each `:root` block: light, dark and paper.
fn schemes(sheet: &str) -> Vec<Colours> {
    let blocks = sheet.split(":root {").skip(1).map(|rest| rest.split('}').next().unwrap());
    blocks
        .map(|block| {
            let lines = block.split(';').filter_map(|line| line.trim().strip_prefix("--")?.split_once(':'));
            lines.map(|(name, value)| (name.trim().to_owned(), colour(value.trim()))).collect()
        })
        .collect()
}

fn colour(text: &str) -> [f64; 3] {
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6).unwrap_or_else(|| panic!("{text}"));
    [0, 2, 4].map(|at| f64::from(u8::from_str_radix(&digits[at..at + 2], 16).unwrap()) / 255.0)
}

/// Relative luminance, as WCAG 2.2 defines it.
fn luminance(colour: [f64; 3]) -> f64 {
    let [r, g, b] = colour.map(|c| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) });
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn contrast_is_what_the_definition_says() {
    assert!((contrast(colour("#000000"), colour("#ffffff")) - 21.0).abs() < 1e-9);
    assert!((contrast(colour("#777777"), colour("#ffffff")) - 4.478).abs() < 1e-3);
}

#[test]
fn every_colour_can_be_read_in_every_scheme() {
    let schemes = schemes(&sheet());
    assert_eq!(schemes.len(), 3, "light, dark and paper");
    let mut low = Vec::new();
    for (scheme, colours) in ["light", "dark", "paper"].iter().zip(&schemes) {
        for (pairs, least) in [(TEXT, 4.5), (SHAPES, 3.0)] {
            for (upper, lower) in pairs.iter().flat_map(|(upper, all)| all.iter().map(move |lower| (*upper, *lower))) {
                let found = contrast(colours[upper], colours[lower]);
                if found < least {
                    low.push(format!("{scheme}: {upper} on {lower} is {found:.2}, less than {least}"));
                }
            }
        }
    }
    assert!(low.is_empty(), "{low:#?}");
}

#[test]
fn no_colour_stands_outside_the_schemes() {
    let sheet = sheet();
    let mut rest = sheet.clone();
    for block in sheet.split(":root {").skip(1) {
        rest = rest.replace(block.split('}').next().unwrap(), "");
    }
    let loose: Vec<&str> = rest.lines().filter(|line| line.contains(": #") || line.contains("rgb(")).collect();
    assert!(loose.is_empty(), "{loose:#?}");
    for name in sheet.split("var(--").skip(1).map(|part| part.split(')').next().unwrap()) {
        assert!(schemes(&sheet).iter().all(|colours| colours.contains_key(name)), "--{name} is in every scheme");
    }
}
