//! Text that looks like a command but is not one: wrong case, letters of other alphabets, invisible characters, typos.
//!
//! Only ever used to *explain*: nothing that needed folding starts anything.

use super::commands::CommandWord;

/// Letters of other alphabets that are drawn like ASCII ones, in lower case.
const SAME_LOOKS: &[(char, char)] = &[
    ('а', 'a'),
    ('е', 'e'),
    ('о', 'o'),
    ('р', 'p'),
    ('с', 'c'),
    ('т', 't'),
    ('м', 'm'),
    ('ѕ', 's'),
    ('ѐ', 'e'),
    ('ё', 'e'),
    ('һ', 'h'),
    ('ո', 'n'),
    ('п', 'n'),
    ('ӏ', 'l'),
    ('і', 'l'),
    ('τ', 't'),
    ('ε', 'e'),
    ('α', 'a'),
    ('ϲ', 'c'),
    ('ս', 'u'),
    ('é', 'e'),
    ('è', 'e'),
    ('ê', 'e'),
    ('ë', 'e'),
    ('á', 'a'),
    ('à', 'a'),
    ('ç', 'c'),
    ('ѵ', 'v'),
    ('ꜱ', 's'),
    ('ᴛ', 't'),
    ('ᴇ', 'e'),
    ('ᴍ', 'm'),
    ('ʀ', 'r'),
    ('ᴄ', 'c'),
    ('ᴀ', 'a'),
    ('ɴ', 'n'),
    ('ʟ', 'l'),
    ('ǃ', '!'),
    ('ⵑ', '!'),
    ('ꜝ', '!'),
    ('❗', '!'),
    ('❕', '!'),
    ('‼', '!'),
    ('¡', '!'),
    ('︕', '!'),
    ('﹗', '!'),
    ('‐', '-'),
    ('‑', '-'),
    ('–', '-'),
    ('—', '-'),
    ('−', '-'),
];

/// What a line would read as if everything that looks like ASCII were ASCII: lower case, no invisible characters,
/// no accents, single blanks.
pub(super) fn fold(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for c in line.chars().filter(|c| !is_invisible(*c)).flat_map(char::to_lowercase) {
        if is_invisible(c) {
            continue;
        }
        if c.is_whitespace() || c.is_control() {
            if !out.ends_with(' ') {
                out.push(' ');
            }
        } else {
            out.push(plain(c));
        }
    }
    out.trim().to_owned()
}

/// The command that a line was probably meant to be.
pub(super) fn meant(line: &str) -> Option<CommandWord> {
    let folded = fold(line);
    let trimmed = folded.trim_start_matches('\\');
    let (sigil, rest) = match trimmed.strip_prefix(['!', '/']) {
        Some(rest) => (trimmed.chars().next(), rest.trim_start_matches(['!', ' '])),
        None => (None, trimmed),
    };
    let first: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
    let letters = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let all = letters(rest);
    CommandWord::ALL.into_iter().find(|word| {
        let name = word.name();
        match sigil {
            Some('!') => all.starts_with(name) || one_slip_apart(&letters(&first), name),
            // Other bots' habits: the whole line is the word, perhaps with a commit.
            Some(_) => letters(&first) == name,
            None => {
                let alone = all == name || (first == name && rest.split(' ').count() == 2);
                *word == CommandWord::Test && rest.starts_with('t') && alone
            }
        }
    })
}

/// Whether a character shows nothing: zero-width, direction marks, soft hyphen, combining marks, variation selectors.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{300}'..='\u{36f}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{e0000}'..='\u{e007f}')
}

fn plain(c: char) -> char {
    if let '\u{ff01}'..='\u{ff5e}' = c {
        // Full-width forms lie in ASCII's order.
        return char::from_u32(u32::from(c) - 0xfee0).map_or(c, |ascii| ascii.to_ascii_lowercase());
    }
    if let '\u{1d400}'..='\u{1d6a3}' = c {
        // Mathematical alphabets: 13 styles of A to Z, a to z.
        let letter = u8::try_from((u32::from(c) - 0x1d400) % 26).unwrap_or(0);
        return char::from(b'a' + letter);
    }
    SAME_LOOKS.iter().find(|(other, _)| *other == c).map_or(c, |(_, ascii)| *ascii)
}

/// One letter missing, added, replaced, or two neighbours swapped.
fn one_slip_apart(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > 1 || a.len() < 4 {
        return false;
    }
    let same_start = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[same_start..], &b[same_start..]);
    let same_end = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[..a.len() - same_end], &b[..b.len() - same_end]);
    match (a, b) {
        ([], [] | [_]) | ([_], [] | [_]) => true,
        ([x, y], [v, w]) => x == w && y == v,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_shows_what_the_eye_sees() {
        for (line, want) in [
            ("！ｔｅｓｔｍｅ", "!testme"),
            ("!TESTME", "!testme"),
            ("!te\u{200b}stme", "!testme"),
            ("\u{202e}!testme", "!testme"),
            ("!tеstmе", "!testme"),
            ("!𝐭𝐞𝐬𝐭𝐦𝐞", "!testme"),
            ("ǃtestme", "!testme"),
            ("!te\u{301}stme", "!testme"),
            ("!testme\u{a0}abc", "!testme abc"),
        ] {
            assert_eq!(fold(line), want);
        }
    }

    #[test]
    fn what_was_probably_meant() {
        for (line, want) in [
            ("!tesme", Some(CommandWord::Test)),
            ("!tetsme", Some(CommandWord::Test)),
            ("! test me", Some(CommandWord::Test)),
            ("!test-me", Some(CommandWord::Test)),
            ("testme", Some(CommandWord::Test)),
            ("/retest", Some(CommandWord::Retest)),
            ("!cancle", Some(CommandWord::Cancel)),
            ("cancel", None),
            ("!important", None),
            ("please don't !testme", None),
            ("testme is a nice word to say", None),
        ] {
            assert_eq!(meant(line), want, "{line}");
        }
    }
}
