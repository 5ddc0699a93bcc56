//! What `abra.sh` exports, read as text.
//!
//! The file is never executed and never given to a shell: it belongs to whoever wrote the pull request.

use crate::finding::{Finding, Place};

/// One `export NAME=value` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Name of the variable.
    pub name: String,
    /// Its value, without surrounding quotes.
    pub value: String,
    /// Line, from 1.
    pub line: usize,
}

/// The `export NAME=value` lines at line start, in order, and what abra would stumble over.
/// A value reaches to the first blank or `#` unless it is in quotes, and is never expanded.
pub fn exports(file: &str, text: &str) -> (Vec<Export>, Vec<Finding>) {
    let (mut exports, mut findings) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let Some(rest) = line.strip_prefix("export ") else { continue };
        let place = Place::new(file, number + 1);
        let Some((name, value)) = rest.trim_start().split_once('=') else { continue };
        if name.is_empty()
            || name.starts_with(|c: char| c.is_ascii_digit())
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            findings.push(Finding::warning(
                "E010",
                &place,
                format!("export of {name:?}, which is no variable name"),
                "write export NAME=value",
            ));
            continue;
        }
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split(quote).next().unwrap_or_default(),
            _ => value.split([' ', '\t', '#', ';']).next().unwrap_or_default(),
        };
        if value.contains('=') {
            findings.push(Finding::warning(
                "E011",
                &place,
                format!("the value of {name} contains `=`, which abra refuses"),
                "use a value without `=`",
            ));
        }
        if value.contains(['$', '`']) {
            findings.push(Finding::warning(
                "E012",
                &place,
                format!("the value of {name} uses the shell, but abra reads this line as text"),
                "write the value itself",
            ));
        }
        exports.push(Export { name: name.to_owned(), value: value.to_owned(), line: number + 1 });
    }
    (exports, findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let text = "#!/bin/bash\nexport A_VERSION=v4\n  export B=1\nexport C=\"x y\" # note\nexport D=v1 # note\nexport E='q'\nf() {\n  export G=1\n}\nexport 1X=2\nexport H=a=b\nexport I=$(id)\nexport J\nexporter K=1\n";
        let (exports, findings) = exports("abra.sh", text);
        let seen: Vec<String> = exports.iter().map(|e| format!("{}:{}={}", e.line, e.name, e.value)).collect();
        assert_eq!(seen, ["2:A_VERSION=v4", "4:C=x y", "5:D=v1", "6:E=q", "11:H=a=b", "12:I=$(id)"]);
        let codes: Vec<(String, usize)> = findings.iter().map(|f| (f.code.to_string(), f.line)).collect();
        assert_eq!(codes, [("E010".into(), 10), ("E011".into(), 11), ("E012".into(), 12)]);
    }
}
