//! The forms a secret can take in a log: what programs and people commonly make of a value before they print it.
//!
//! Forms that work on groups of bits (base64, base32) are given for every position at which the value can start inside
//! a longer text, reduced to the characters that depend on the value alone.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::MIN_NEEDLE;

/// A line of a secret of several lines is looked for by itself from this length on, in bytes.
const MIN_LINE: usize = 16;

macro_rules! encodings {
    ($( $variant:ident $name:literal; )*) => {
        /// A form of a secret.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(super) enum Encoding { $( #[doc = $name] $variant, )* }

        impl Encoding {
            /// All forms.
            pub(super) const ALL: &'static [Encoding] = &[ $( Encoding::$variant, )* ];

            /// Name for reports.
            pub(super) fn as_str(self) -> &'static str {
                match self { $( Encoding::$variant => $name, )* }
            }
        }
    };
}

encodings! {
    Plain "plain";
    Base64 "base64";
    Base64Url "base64 (URL alphabet)";
    Base64Twice "base64, twice";
    Base32 "base32";
    Hex "hex";
    HexSeparated "hex with separators";
    Url "URL";
    Json "JSON";
    JsonTwice "JSON, twice";
    Html "HTML or XML";
    Shell "shell quotes";
    DoubledQuotes "doubled quotes (YAML, SQL)";
    Reversed "reversed";
    Utf16 "UTF-16";
    Spaced "letters apart";
}

/// What to look for, and what it means. No form is shorter than [`MIN_NEEDLE`], none is listed twice.
pub(super) fn needles(value: &str) -> Vec<(Encoding, Zeroizing<Vec<u8>>)> {
    let mut found: Vec<(Encoding, Zeroizing<Vec<u8>>)> = Vec::new();
    let value = value.trim_end_matches(['\n', '\r']);
    let mut texts = vec![value];
    if value.contains('\n') {
        texts.extend(value.lines().map(str::trim).filter(|line| line.len() >= MIN_LINE));
    }
    for text in texts {
        for encoding in Encoding::ALL {
            for needle in forms(*encoding, text) {
                if needle.len() >= MIN_NEEDLE && !found.iter().any(|(_, known)| **known == needle) {
                    found.push((*encoding, Zeroizing::new(needle)));
                }
            }
        }
    }
    found
}

/// Every form of one kind.
pub(super) fn forms(encoding: Encoding, value: &str) -> Vec<Vec<u8>> {
    let bytes = value.as_bytes();
    let texts: Vec<String> = match encoding {
        Encoding::Plain => vec![value.to_owned()],
        Encoding::Base64 => aligned(bytes, 3, 6, |bytes| STANDARD_NO_PAD.encode(bytes)),
        Encoding::Base64Url => aligned(bytes, 3, 6, |bytes| URL_SAFE_NO_PAD.encode(bytes)),
        Encoding::Base64Twice => {
            let once = STANDARD.encode(bytes);
            aligned(once.as_bytes(), 3, 6, |bytes| STANDARD_NO_PAD.encode(bytes))
        }
        Encoding::Base32 => {
            let upper = aligned(bytes, 5, 5, base32);
            let lower = upper.iter().map(|text| text.to_lowercase()).collect();
            [upper, lower].concat()
        }
        Encoding::Hex => vec![hex::encode(bytes), hex::encode_upper(bytes)],
        Encoding::HexSeparated => [":", " ", "-", ", 0x", "\\x"]
            .iter()
            .flat_map(|between| [join_hex(bytes, between, false), join_hex(bytes, between, true)])
            .collect(),
        Encoding::Url => [is_unreserved as fn(u8) -> bool, is_component, |_| false]
            .iter()
            .flat_map(|keep| [percent(bytes, *keep, false), percent(bytes, *keep, true)])
            .flat_map(|text| [text.replace("%20", "+"), text])
            .collect(),
        Encoding::Json => json(value).to_vec(),
        Encoding::JsonTwice => json(value).iter().flat_map(|once| json(once)).collect(),
        Encoding::Html => html(value),
        Encoding::Shell => vec![
            value.replace('\'', r"'\''"),
            value.replace('\'', r#"'"'"'"#),
            escape_each(value, |c| matches!(c, '"' | '\\' | '$' | '`')),
            escape_each(value, |c| !(c.is_alphanumeric() || "_-./:@%+=,".contains(c))),
        ],
        Encoding::DoubledQuotes => vec![value.replace('\'', "''"), value.replace('"', "\"\"")],
        Encoding::Reversed => vec![value.chars().rev().collect()],
        Encoding::Utf16 => {
            return vec![
                value.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                value.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            ];
        }
        Encoding::Spaced => vec![apart(value, " "), apart(value, "\n")],
    };
    texts.into_iter().map(String::into_bytes).collect()
}

/// The stable inner part for each of `group` starting positions, where one character stands for `bits` bits.
fn aligned(bytes: &[u8], group: usize, bits: usize, encode: impl Fn(&[u8]) -> String) -> Vec<String> {
    (0..group)
        .map(|offset| {
            let mut shifted = vec![0; offset];
            shifted.extend_from_slice(bytes);
            let first = (offset * 8).div_ceil(bits);
            let last = shifted.len() * 8 / bits;
            encode(&shifted).chars().take(last).skip(first).collect()
        })
        .collect()
}

/// RFC 4648 base32 without padding.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut out, mut held, mut bits) = (String::new(), 0u32, 0u32);
    for byte in bytes {
        held = (held << 8 | u32::from(*byte)) & 0xffff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(ALPHABET[(held >> bits & 31) as usize]));
        }
    }
    if bits > 0 {
        out.push(char::from(ALPHABET[(held << (5 - bits) & 31) as usize]));
    }
    out
}

fn join_hex(bytes: &[u8], between: &str, upper: bool) -> String {
    let pair = |byte: &u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
    bytes.iter().map(pair).collect::<Vec<String>>().join(between)
}

/// RFC 3986 unreserved characters.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// What `encodeURIComponent` leaves alone.
fn is_component(byte: u8) -> bool {
    is_unreserved(byte) || b"!*'()".contains(&byte)
}

fn percent(bytes: &[u8], keep: fn(u8) -> bool, upper: bool) -> String {
    let one = |byte: &u8| match (keep(*byte), upper) {
        (true, _) => char::from(*byte).to_string(),
        (false, true) => format!("%{byte:02X}"),
        (false, false) => format!("%{byte:02x}"),
    };
    bytes.iter().map(one).collect()
}

/// The inside of a JSON string as encoders write it: plain, with `\/`, safe for HTML, ASCII only.
fn json(value: &str) -> [String; 4] {
    let quoted = serde_json::Value::from(value).to_string();
    let plain = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned();
    let slashes = plain.replace('/', "\\/");
    let safe = plain.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").replace('\'', "\\u0027");
    let ascii = plain.chars().fold(String::new(), |mut out, c| {
        if c.is_ascii() {
            out.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
        out
    });
    [plain, slashes, safe, ascii]
}

/// Named entities, with the spellings of quotes that encoders differ in.
fn html(value: &str) -> Vec<String> {
    let base = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let with = |double: &str, single: &str| base.replace('"', double).replace('\'', single);
    vec![
        base.clone(),
        with("&quot;", "'"),
        with("&quot;", "&#39;"),
        with("&quot;", "&#039;"),
        with("&quot;", "&#x27;"),
        with("&quot;", "&apos;"),
        with("&#34;", "&#39;"),
        value
            .replace('&', "&#38;")
            .replace('<', "&#60;")
            .replace('>', "&#62;")
            .replace('"', "&#34;")
            .replace('\'', "&#39;"),
    ]
}

fn escape_each(value: &str, special: impl Fn(char) -> bool) -> String {
    value.chars().fold(String::new(), |mut out, c| {
        if special(c) {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

fn apart(value: &str, between: &str) -> String {
    value.chars().map(String::from).collect::<Vec<String>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        for (encoding, value, wanted) in [
            (Encoding::Hex, "kürz", "6bc3bc727a"),
            (Encoding::Url, "a b/c&d", "a%20b%2Fc%26d"),
            (Encoding::Url, "a b/c&d", "a+b%2fc%26d"),
            (Encoding::Json, "a\"b\\c\nd", r#"a\"b\\c\nd"#),
            (Encoding::Json, "a<b/é", r"a\u003cb/é"),
            (Encoding::Json, "a<b/é😀", r"a<b/\u00e9\ud83d\ude00"),
            (Encoding::JsonTwice, "a\"b", r#"a\\\"b"#),
            (Encoding::Html, "a<'\"&", "a&lt;&#39;&quot;&amp;"),
            (Encoding::Shell, "it's", r"it'\''s"),
            (Encoding::Shell, "a b$c", r"a\ b\$c"),
            (Encoding::Shell, "a b$c", r"a b\$c"),
            (Encoding::Base32, "foobar", "MZXW6YTBO"),
            (Encoding::Base32, "foobar", "mzxw6ytbo"),
            (Encoding::Reversed, "abc", "cba"),
            (Encoding::DoubledQuotes, "it's", "it''s"),
            (Encoding::HexSeparated, "abc", "61:62:63"),
        ] {
            let forms = forms(encoding, value);
            assert!(forms.contains(&wanted.as_bytes().to_vec()), "{encoding:?} {value}: {wanted}");
        }
    }

    proptest::proptest! {
        /// Wherever a value stands in a longer text, base64 and base32 of that text hold one of the needles.
        #[test]
        fn grouped_encodings_are_found_at_every_position(
            before in proptest::collection::vec(proptest::num::u8::ANY, 0..12),
            value in "[!-~]{10,40}",
            after in proptest::collection::vec(proptest::num::u8::ANY, 0..12),
        ) {
            let whole = [&before[..], value.as_bytes(), &after[..]].concat();
            for (encoding, text) in [
                (Encoding::Base64, STANDARD.encode(&whole)),
                (Encoding::Base64Url, URL_SAFE_NO_PAD.encode(&whole)),
                (Encoding::Base32, base32(&whole)),
            ] {
                let hit = forms(encoding, &value).iter().any(|form| {
                    text.as_bytes().windows(form.len()).any(|window| window == form)
                });
                proptest::prop_assert!(hit, "{encoding:?} {text}");
            }
        }
    }
}
