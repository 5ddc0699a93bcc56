//! Makes text from a run harmless: terminal escapes, control characters and direction tricks are taken out.
//!
//! Everything a recipe, an app or a suite wrote goes through here before a person or a browser sees it.
//! It never decides what is secret (masking is done while writing) and never escapes for a format: HTML, XML and
//! Markdown have their own escaping, which comes after this. The one rule to know: a string sequence (OSC, DCS, …)
//! ends at the end of its line at the latest, so that an unfinished one cannot hide the evidence that follows.

use std::iter::Peekable;
use std::str::Chars;

/// Text without any escape sequence or control character other than line feed and tab. Line ends become `\n`.
#[must_use]
pub fn text(input: &str) -> String {
    strip(input, false)
}

/// Like [`text`], but colour and weight (SGR: `ESC [ … m`) stay, for a converter to HTML.
#[must_use]
pub fn keep_colour(input: &str) -> String {
    strip(input, true)
}

/// One harmless line of at most `max` characters: white space is folded, what is cut off is shown as `…`.
#[must_use]
pub fn line(input: &str, max: usize) -> String {
    let clean = text(input);
    let folded = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    clip(&folded, max)
}

/// The first `max` characters; if some had to go, the last one is `…`.
#[must_use]
pub fn clip(input: &str, max: usize) -> String {
    if input.chars().count() <= max {
        return input.to_owned();
    }
    let mut out: String = input.chars().take(max.saturating_sub(1)).collect();
    out.truncate(out.trim_end().len());
    if max > 0 {
        out.push('…');
    }
    out
}

/// How an escape sequence goes on after its first character.
#[derive(Clone, Copy)]
enum Sequence {
    /// `ESC [`: parameters, intermediates, one final character.
    Control,
    /// OSC, DCS, SOS, PM, APC: up to BEL or ST.
    Text,
}

fn strip(input: &str, colour: bool) -> String {
    let mut out = String::with_capacity(input.len());
    let mut chars = input.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => escape(&mut chars, &mut out, colour),
            '\u{9b}' => sequence(Sequence::Control, &mut chars, &mut out, colour),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => sequence(Sequence::Text, &mut chars, &mut out, colour),
            '\n' | '\t' => out.push(c),
            '\r' => {
                if chars.peek() != Some(&'\n') {
                    out.push('\n');
                }
            }
            '\u{85}' | '\u{2028}' | '\u{2029}' => out.push('\n'),
            _ if c.is_control() || is_invisible(c) => {}
            _ => out.push(c),
        }
    }
    out
}

fn escape(chars: &mut Peekable<Chars<'_>>, out: &mut String, colour: bool) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            sequence(Sequence::Control, chars, out, colour);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            chars.next();
            sequence(Sequence::Text, chars, out, colour);
        }
        Some(' '..='/') => {
            while chars.next_if(|c| (' '..='/').contains(c)).is_some() {}
            chars.next_if(|c| ('0'..='~').contains(c));
        }
        Some('0'..='~') => {
            chars.next();
        }
        _ => {}
    }
}

fn sequence(kind: Sequence, chars: &mut Peekable<Chars<'_>>, out: &mut String, colour: bool) {
    match kind {
        Sequence::Control => {
            let mut body = String::new();
            while let Some(c) = chars.next_if(|c| (' '..='?').contains(c)) {
                body.push(c);
            }
            let last = chars.next_if(|c| ('@'..='~').contains(c));
            let plain = body.chars().all(|c| c.is_ascii_digit() || matches!(c, ';' | ':'));
            if colour && last == Some('m') && plain && body.len() <= 64 {
                out.push_str("\u{1b}[");
                out.push_str(&body);
                out.push('m');
            }
        }
        Sequence::Text => {
            while let Some(c) = chars.next_if(|c| !matches!(c, '\n' | '\r')) {
                match c {
                    '\u{7}' | '\u{9c}' => return,
                    '\u{1b}' if chars.next_if_eq(&'\\').is_some() => return,
                    _ => {}
                }
            }
        }
    }
}

/// Characters that show nothing but change what is seen (direction overrides and isolates, tags, zero-width marks), and
/// those that are no characters at all, which XML refuses.
fn is_invisible(c: char) -> bool {
    u32::from(c) & 0xfffe == 0xfffe
        || matches!(c,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fdd0}'..='\u{fdef}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_goes_and_what_stays() {
        for (given, plain, coloured) in [
            ("a\u{1b}[31mred\u{1b}[0m", "ared", "a\u{1b}[31mred\u{1b}[0m"),
            ("\u{1b}[38;2;1;2;3mx", "x", "\u{1b}[38;2;1;2;3mx"),
            ("\u{1b}[2Jgone\u{1b}[1;1H", "gone", "gone"),
            ("\u{1b}[?25lx", "x", "x"),
            ("\u{1b}[>4;2mx", "x", "x"),
            ("\u{9b}31mx", "x", "\u{1b}[31mx"),
            ("\u{1b}]0;title\u{7}x", "x", "x"),
            ("\u{1b}]8;;http://evil\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link", "link"),
            ("\u{1b}]52;c;aGk=\u{9c}x", "x", "x"),
            ("\u{1b}Pdcs\u{1b}\\x", "x", "x"),
            ("\u{9d}0;t\u{7}x", "x", "x"),
            ("\u{1b}]never ends\nevidence", "\nevidence", "\nevidence"),
            ("\u{1b}[31\nx", "\nx", "\nx"),
            ("\u{1b}(Bx\u{1b}cy\u{1b}=z", "xyz", "xyz"),
            ("\u{1b}", "", ""),
            ("\u{1b}\u{0}[31mx", "[31mx", "[31mx"),
            ("a\0b\u{8}c\u{7f}d\u{84}e", "abcde", "abcde"),
            ("a\r\nb\rc\u{85}d\u{2028}e", "a\nb\nc\nd\ne", "a\nb\nc\nd\ne"),
            ("\u{202e}gnp\u{202c}.\u{2066}exe\u{2069}", "gnp.exe", "gnp.exe"),
            ("zero\u{200b}width\u{feff}\u{e0041}\u{ffff}\u{1fffe}", "zerowidth", "zerowidth"),
            ("Größe ✔ 漢字\tπ", "Größe ✔ 漢字\tπ", "Größe ✔ 漢字\tπ"),
        ] {
            assert_eq!(text(given), plain, "{given:?}");
            assert_eq!(keep_colour(given), coloured, "{given:?}");
        }
    }

    #[test]
    fn lines_are_folded_and_clipped() {
        for (given, max, want) in [
            ("a\n b\t\u{1b}[1mc", 10, "a b c"),
            ("abcdef", 6, "abcdef"),
            ("abcdefg", 6, "abcde…"),
            ("abcd fgh", 6, "abcd…"),
            ("abc", 1, "…"),
            ("abc", 0, ""),
            ("ääää", 3, "ää…"),
        ] {
            assert_eq!(line(given, max), want, "{given:?} {max}");
        }
    }

    proptest! {
        #[test]
        fn nothing_harmful_is_left(input in "(\\PC|\u{1b}|\u{9b}|\u{9d}|\\[|\\]|[0-9;m\u{7}\r\n\u{202e}\u{0}])*") {
            let plain = text(&input);
            prop_assert!(plain.chars().all(|c| matches!(c, '\n' | '\t') || !(c.is_control() || is_invisible(c))), "{plain:?}");
            prop_assert_eq!(&text(&plain), &plain);
            let coloured = keep_colour(&input);
            prop_assert_eq!(&keep_colour(&coloured), &coloured);
            prop_assert_eq!(text(&coloured), plain);
        }
    }
}
