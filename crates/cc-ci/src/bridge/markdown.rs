//! Where each line of a comment stands once it is rendered: plain paragraph, quote, code, HTML, list, …
//!
//! The forge shows CommonMark with GitHub's additions, so those are switched on here too: what is not shown as plain
//! text must not be read as plain text. In doubt a line is *not* plain. Work is linear in the text's length: only the
//! outermost element marks its lines, since a hostile comment may nest thousands.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag};
use serde::Serialize;

/// HTML elements that never have an end tag.
const VOID_ELEMENTS: &[&str] =
    &["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"];

/// How many open HTML elements are remembered; deeper ones count as one.
const DEEPEST_HTML: usize = 64;

/// Where a line stands in the rendered comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Text of a top-level paragraph: the only place where a command counts.
    Paragraph,
    /// A block quote.
    Quote,
    /// A code block between fences.
    Fence,
    /// A code block made by indentation.
    IndentedCode,
    /// Code between backticks.
    InlineCode,
    /// An HTML comment, block or element.
    Html,
    /// A list or a definition list.
    List,
    /// A heading, also one made by underlining a line.
    Heading,
    /// Emphasised or struck-out text.
    Emphasis,
    /// A link's text.
    Link,
    /// An image's description.
    Image,
    /// A table.
    Table,
    /// A footnote.
    Footnote,
    /// A formula.
    Formula,
    /// Not shown at all: blank, a rule, or the definition of a link.
    Nowhere,
}

impl Place {
    /// For people: fits after "the line is …".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Place::Paragraph => "plain text",
            Place::Quote => "quoted",
            Place::Fence => "in a fenced code block",
            Place::IndentedCode => "in an indented code block",
            Place::InlineCode => "in inline code",
            Place::Html => "inside HTML",
            Place::List => "in a list",
            Place::Heading => "in a heading",
            Place::Emphasis => "emphasised",
            Place::Link => "in a link",
            Place::Image => "in an image",
            Place::Table => "in a table",
            Place::Footnote => "in a footnote",
            Place::Formula => "in a formula",
            Place::Nowhere => "not shown",
        }
    }

    /// Whether somebody who puts a command there probably meant it, and should be told how to write it.
    /// Quotes, code and HTML are how people *mention* a command.
    #[must_use]
    pub(super) fn may_be_meant(self) -> bool {
        matches!(self, Place::List | Place::Heading | Place::Emphasis | Place::Table)
    }

    fn of(tag: &Tag<'_>) -> Self {
        match tag {
            Tag::Paragraph => Place::Paragraph,
            Tag::BlockQuote(_) => Place::Quote,
            Tag::CodeBlock(CodeBlockKind::Fenced(_)) => Place::Fence,
            Tag::CodeBlock(CodeBlockKind::Indented) => Place::IndentedCode,
            Tag::HtmlBlock | Tag::MetadataBlock(_) => Place::Html,
            Tag::List(_)
            | Tag::Item
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition => Place::List,
            Tag::Heading { .. } => Place::Heading,
            Tag::Emphasis | Tag::Strong | Tag::Strikethrough | Tag::Superscript | Tag::Subscript => Place::Emphasis,
            Tag::Link { .. } => Place::Link,
            Tag::Image { .. } => Place::Image,
            Tag::Table(_) | Tag::TableHead | Tag::TableRow | Tag::TableCell => Place::Table,
            Tag::FootnoteDefinition(_) => Place::Footnote,
        }
    }
}

/// Makes every kind of line end a line feed: CR LF, CR, NEL (U+0085), LINE and PARAGRAPH SEPARATOR (U+2028, U+2029).
#[must_use]
pub(super) fn normalise(body: &str) -> String {
    body.replace("\r\n", "\n").replace(['\r', '\u{85}', '\u{2028}', '\u{2029}'], "\n")
}

/// The place of each line of a normalised text, as many as `text.split('\n')` gives.
#[must_use]
pub(super) fn places(text: &str) -> Vec<Place> {
    let mut lines = Lines::new(text);
    let mut html = OpenHtml::default();
    let mut block_html = String::new();
    // How many elements other than paragraphs are open: only the outermost marks its lines.
    let mut depth = 0_usize;
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM
        | Options::ENABLE_MATH
        | Options::ENABLE_DEFINITION_LIST;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        match event {
            Event::Start(Tag::Paragraph) => {
                if depth == 0 {
                    lines.mark(&range, Place::Paragraph);
                }
            }
            Event::Start(tag) => {
                let place = Place::of(&tag);
                if depth == 0 {
                    lines.mark(&range, place);
                } else if matches!(place, Place::Fence | Place::IndentedCode) {
                    // Code blocks hold nothing else, so marking those inside lists and quotes stays linear too.
                    lines.mark_code(&range, place);
                }
                depth += 1;
            }
            Event::End(pulldown_cmark::TagEnd::Paragraph) => {}
            Event::End(end) => {
                depth = depth.saturating_sub(1);
                if end == pulldown_cmark::TagEnd::HtmlBlock {
                    html.read(&std::mem::take(&mut block_html));
                }
            }
            Event::Html(part) => block_html.push_str(&part),
            Event::InlineHtml(part) => {
                html.read(&part);
                if depth == 0 {
                    lines.mark(&range, Place::Html);
                }
            }
            Event::Text(_) => {
                if depth == 0 && html.is_open() {
                    lines.mark(&range, Place::Html);
                }
            }
            Event::Code(_) if depth == 0 => lines.mark(&range, Place::InlineCode),
            Event::InlineMath(_) | Event::DisplayMath(_) if depth == 0 => lines.mark(&range, Place::Formula),
            Event::FootnoteReference(_) if depth == 0 => lines.mark(&range, Place::Footnote),
            Event::Code(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::FootnoteReference(_)
            | Event::SoftBreak
            | Event::HardBreak
            | Event::Rule
            | Event::TaskListMarker(_) => {}
        }
    }
    lines.places
}

/// The lines' starts and what is known of each.
struct Lines {
    starts: Vec<usize>,
    places: Vec<Place>,
}

impl Lines {
    fn new(text: &str) -> Self {
        let starts: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let places = vec![Place::Nowhere; starts.len()];
        Self { starts, places }
    }

    /// Marks the lines that `range` touches; a paragraph never hides a mark that is already there.
    fn mark(&mut self, range: &std::ops::Range<usize>, place: Place) {
        if range.is_empty() {
            return;
        }
        let first = self.line_at(range.start);
        let last = self.line_at(range.end - 1);
        for known in &mut self.places[first..=last] {
            if matches!(known, Place::Nowhere | Place::Paragraph) {
                *known = place;
            }
        }
    }

    /// Marks the lines of a code block, whatever it is in.
    fn mark_code(&mut self, range: &std::ops::Range<usize>, place: Place) {
        if !range.is_empty() {
            let (first, last) = (self.line_at(range.start), self.line_at(range.end - 1));
            self.places[first..=last].fill(place);
        }
    }

    fn line_at(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }
}

/// The HTML elements that are open, so that text between `<details>` and `</details>` is known to be inside.
#[derive(Default)]
struct OpenHtml {
    names: Vec<String>,
}

impl OpenHtml {
    fn is_open(&self) -> bool {
        !self.names.is_empty()
    }

    /// Follows the tags in a piece of HTML. An end tag closes what was opened inside it too.
    fn read(&mut self, html: &str) {
        let mut rest = html;
        while let Some(at) = rest.find('<') {
            rest = &rest[at + 1..];
            if let Some(comment) = rest.strip_prefix("!--") {
                rest = comment.split_once("-->").map_or("", |(_, after)| after);
                continue;
            }
            let (closing, name_on) = match rest.strip_prefix('/') {
                Some(after) => (true, after),
                None => (false, rest),
            };
            let name: String = name_on
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
                .map(|c| c.to_ascii_lowercase())
                .collect();
            if name.is_empty() || VOID_ELEMENTS.contains(&name.as_str()) {
                continue;
            }
            let tag = name_on.split('>').next().unwrap_or_default();
            if closing {
                if let Some(at) = self.names.iter().rposition(|open| *open == name) {
                    self.names.truncate(at);
                }
            } else if !tag.ends_with('/') && self.names.len() < DEEPEST_HTML {
                self.names.push(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_gets_its_place() {
        let text = "plain\n\n> quoted\nlazy\n\n```\nfenced\n```\n\n    indented\n\n- item\n\nTitle\n=====\n\n<!-- a\nb -->\n\nx `a\nb` c";
        use Place::{Fence, Heading, Html, IndentedCode, InlineCode, List, Nowhere, Paragraph, Quote};
        let want = [
            Paragraph,
            Nowhere,
            Quote,
            Quote,
            Nowhere,
            Fence,
            Fence,
            Fence,
            Nowhere,
            IndentedCode,
            Nowhere,
            List,
            // The empty line behind an item may still become part of it; no command stands there either way.
            List,
            Heading,
            Heading,
            Nowhere,
            Html,
            Html,
            Nowhere,
            InlineCode,
            InlineCode,
        ];
        assert_eq!(places(text), want);
    }

    #[test]
    fn text_between_html_tags_is_inside_them() {
        assert_eq!(places("<details>\n\nhidden\n\n</details>\n\nafter")[2], Place::Html);
        assert_eq!(places("<details>\n\nhidden\n\n</details>\n\nafter")[6], Place::Paragraph);
        assert_eq!(places("a <sub>\nb\n</sub>")[1], Place::Html);
        assert_eq!(places("a <br> b\nc")[1], Place::Paragraph);
    }

    #[test]
    fn thousands_of_nested_quotes_take_no_time() {
        let text = format!("{}\n{}", ">".repeat(20_000), "a\n".repeat(10_000));
        assert_eq!(places(&text).len(), 10_002);
    }
}
