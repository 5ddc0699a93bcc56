//! badge.svg: a flat badge with a label and a level or verdict.
//!
//! Text and colour come from closed enums; the label is the only free text, cut and escaped. Nothing of a request or of
//! the run's output can get into the picture, and it refers to nothing outside itself.

use super::svg::{Font, escape, fit, width};
use crate::domain::Verdict;

const HEIGHT: f32 = 20.0;
const PADDING: f32 = 7.0;
const FONT: Font = Font::sans(11.0);
const LABEL_WIDTH_MAX: f32 = 160.0;
const LABEL_GROUND: &str = "#3d444d";

/// What a badge says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadgeKind {
    /// The level and what the run says of the commit.
    Level(u8, Verdict),
    /// The verdict alone.
    Verdict(Verdict),
    /// There is no run to speak of.
    Unknown,
}

impl BadgeKind {
    fn message(self) -> String {
        match self {
            BadgeKind::Level(level, Verdict::Green) => format!("✔ level {}", level.min(5)),
            BadgeKind::Level(level, Verdict::Red) => format!("✘ red, level {}", level.min(5)),
            BadgeKind::Verdict(Verdict::Green) => "✔ green".to_owned(),
            BadgeKind::Verdict(Verdict::Red) => "✘ red".to_owned(),
            BadgeKind::Level(_, Verdict::Pending) | BadgeKind::Verdict(Verdict::Pending) => "… running".to_owned(),
            BadgeKind::Level(_, Verdict::Error) | BadgeKind::Verdict(Verdict::Error) => "? not judged".to_owned(),
            BadgeKind::Unknown => "unknown".to_owned(),
        }
    }

    fn ground(self) -> &'static str {
        match self {
            BadgeKind::Level(_, verdict) | BadgeKind::Verdict(verdict) => verdict_colour(verdict),
            BadgeKind::Unknown => "#57606a",
        }
    }
}

/// The ground colour that stands for a verdict; white text on it has a contrast of at least 4.5 to 1 (WCAG AA).
pub(super) fn verdict_colour(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Green => "#1a7f37",
        Verdict::Red => "#c62828",
        Verdict::Pending => "#0a66c2",
        Verdict::Error => "#8a5a00",
    }
}

/// The badge as an SVG document. `label` is usually `cc-ci` or the recipe's name; what does not fit is cut.
#[must_use]
pub fn svg(kind: BadgeKind, label: &str) -> String {
    let label = fit(label, FONT, LABEL_WIDTH_MAX);
    let label = if label.is_empty() { "cc-ci".to_owned() } else { label };
    let message = kind.message();
    let (label_text, message_text) = (width(&label, FONT).ceil(), width(&message, FONT).ceil());
    let (left, right) = (label_text + 2.0 * PADDING, message_text + 2.0 * PADDING);
    let (label, message) = (escape(&label), escape(&message));
    let all = left + right;
    let ground = kind.ground();
    let text_at = left + PADDING;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{all}" height="{HEIGHT}" role="img" aria-label="{label}: {message}">
<title>{label}: {message}</title>
<clipPath id="r"><rect width="{all}" height="{HEIGHT}" rx="3"/></clipPath>
<g clip-path="url(#r)"><rect width="{left}" height="{HEIGHT}" fill="{LABEL_GROUND}"/><rect x="{left}" width="{right}" height="{HEIGHT}" fill="{ground}"/></g>
<g fill="#fff" font-family="DejaVu Sans,Verdana,Geneva,sans-serif" font-size="{size}">
<text x="{PADDING}" y="14" textLength="{label_text}">{label}</text>
<text x="{text_at}" y="14" textLength="{message_text}">{message}</text>
</g>
</svg>
"##,
        size = FONT.size,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Verdict; 4] = [Verdict::Green, Verdict::Red, Verdict::Pending, Verdict::Error];

    /// Relative luminance by WCAG 2.2.
    fn luminance(colour: &str) -> f64 {
        let channel = |at: usize| {
            let c = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    #[test]
    fn white_text_can_be_read_on_every_ground() {
        let grounds = ALL.map(|v| BadgeKind::Verdict(v).ground()).into_iter();
        for ground in grounds.chain([BadgeKind::Unknown.ground(), LABEL_GROUND]) {
            let contrast = 1.05 / (luminance(ground) + 0.05);
            assert!(contrast >= 4.5, "{ground}: {contrast:.2}");
        }
    }

    #[test]
    fn each_badge_says_something_else() {
        let mut said: Vec<String> = (0..=5).flat_map(|n| ALL.map(|v| BadgeKind::Level(n, v).message())).collect();
        said.sort();
        said.dedup();
        assert_eq!(said.len(), 6 + 6 + 1 + 1, "{said:?}");
        assert_eq!(BadgeKind::Level(200, Verdict::Green).message(), "✔ level 5");
    }

    #[test]
    fn a_badge() {
        insta::assert_snapshot!(svg(BadgeKind::Level(4, Verdict::Green), "cc-ci"), @r##"
        <svg xmlns="http://www.w3.org/2000/svg" width="104" height="20" role="img" aria-label="cc-ci: ✔ level 4">
        <title>cc-ci: ✔ level 4</title>
        <clipPath id="r"><rect width="104" height="20" rx="3"/></clipPath>
        <g clip-path="url(#r)"><rect width="40" height="20" fill="#3d444d"/><rect x="40" width="64" height="20" fill="#1a7f37"/></g>
        <g fill="#fff" font-family="DejaVu Sans,Verdana,Geneva,sans-serif" font-size="11">
        <text x="7" y="14" textLength="26">cc-ci</text>
        <text x="47" y="14" textLength="50">✔ level 4</text>
        </g>
        </svg>
        "##);
    }

    #[test]
    fn a_hostile_label_is_only_text() {
        let evil = "</title><script>alert(1)</script>\u{1b}]8;;http://evil\u{7}&\"' ".repeat(9);
        let badge = svg(BadgeKind::Unknown, &evil);
        let document = roxmltree::Document::parse(&badge).unwrap();
        let known = ["svg", "title", "clipPath", "rect", "g", "text"];
        for node in document.descendants().filter(roxmltree::Node::is_element) {
            assert!(known.contains(&node.tag_name().name()), "{node:?}");
        }
        let width: f32 = document.root_element().attribute("width").unwrap().parse().unwrap();
        assert!(width < 260.0, "{width}");
        assert!(svg(BadgeKind::Unknown, "\u{202e}").contains("cc-ci: unknown"));
    }
}
