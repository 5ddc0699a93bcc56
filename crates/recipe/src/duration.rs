//! Durations as Go writes them (`1m30s`) and sizes as Docker writes them (`64M`, `1.5gb`).
//!
//! Never guesses a unit: a bare number is no duration, except `0`.

use std::time::Duration;

use thiserror::Error;

/// Why a text is no duration or no size.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnitError {
    /// Not a Go duration.
    #[error("{0:?} is not a duration: write for example 30s, 1m30s or 500ms")]
    Duration(String),
    /// Not a size in bytes.
    #[error("{0:?} is not a size: write for example 64M, 512k or 1.5g")]
    Size(String),
}

/// Reads a Go duration (`time.ParseDuration`): a run of decimal numbers with a unit each, `ns us µs ms s m h`; `0` alone is allowed.
/// Negative durations are refused, since no compose field has a use for them.
///
/// # Errors
/// The text is no such duration, or is too long for 64 bits of nanoseconds.
pub fn parse(text: &str) -> Result<Duration, UnitError> {
    let error = || UnitError::Duration(text.to_owned());
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(error());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(|b| !b.is_ascii_digit() && *b != b'.').count();
        let (unit, tail) = tail.split_at(letters);
        let nanos_per: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(error()),
        };
        total = total.checked_add(scaled(number, nanos_per).ok_or_else(error)?).ok_or_else(error)?;
        rest = tail;
    }
    match i64::try_from(total).ok().and_then(|n| u64::try_from(n).ok()) {
        Some(nanos) => Ok(Duration::from_nanos(nanos)),
        None => Err(error()),
    }
}

/// Writes a duration as Go's `Duration.String` does: `1h0m0s`, `1m30s`, `1.5s`, `500ms`, `0s`.
pub fn print(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".into();
    }
    for (limit, unit, per) in [(1_000, "ns", 1), (1_000_000, "µs", 1_000), (1_000_000_000, "ms", 1_000_000)] {
        if nanos < limit {
            return format!("{}{unit}", fraction(nanos, per));
        }
    }
    let minutes = nanos / 60_000_000_000;
    let seconds = fraction(nanos % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, m) => format!("{m}m{seconds}s"),
        (h, m) => format!("{h}h{m}m{seconds}s"),
    }
}

/// Reads a size in bytes: a decimal number and an optional binary unit `k m g t p`, with or without `b` or `ib`, any case.
///
/// # Errors
/// The text is no size.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let error = || UnitError::Size(text.to_owned());
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, unit) = lower.split_at(digits);
    let unit = unit.trim_start();
    let power = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(error()),
    };
    let bytes = scaled(number, 1_u128 << (10 * power)).ok_or_else(error)?;
    u64::try_from(bytes).map_err(|_| error())
}

/// Writes a size with the largest binary unit that loses nothing: `64m`, `1536k`, `100`.
pub fn print_size(bytes: u64) -> String {
    for (shift, unit) in [(50, "p"), (40, "t"), (30, "g"), (20, "m"), (10, "k")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// `number` (decimal, perhaps with a fraction) times `scale`, cut towards zero.
fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && part.is_empty()) || part.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // 18 digits behind the point decide about a nanosecond; more change nothing.
    let part = &part[..part.len().min(18)];
    let fraction: u128 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let tenths = 10_u128.pow(u32::try_from(part.len()).ok()?);
    whole.checked_mul(scale)?.checked_add(fraction.checked_mul(scale)? / tenths)
}

fn fraction(value: u128, per: u128) -> String {
    let (whole, rest) = (value / per, value % per);
    if rest == 0 {
        return whole.to_string();
    }
    let width = per.to_string().len() - 1;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected, printed) in [
            ("0", 0, "0s"),
            ("30s", 30_000, "30s"),
            ("1m30s", 90_000, "1m30s"),
            ("90s", 90_000, "1m30s"),
            ("1.5s", 1_500, "1.5s"),
            ("500ms", 500, "500ms"),
            ("2h", 7_200_000, "2h0m0s"),
            ("1h0m1s", 3_601_000, "1h0m1s"),
            (".5m", 30_000, "30s"),
            ("100us", 0, "100µs"),
        ] {
            let duration = parse(text).expect(text);
            assert_eq!(duration.as_millis(), expected, "{text}");
            assert_eq!(print(duration), printed, "{text}");
            assert_eq!(parse(&print(duration)), Ok(duration), "{text}");
        }
        for text in ["", "5", "1 s", "s", "1d", "-1s", "1.2.3s", "1s5", "9999999999h", "${X}", "."] {
            assert!(parse(text).is_err(), "{text:?} must be no duration");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected, printed) in [
            ("64M", 64 << 20, "64m"),
            ("64mb", 64 << 20, "64m"),
            ("1GiB", 1 << 30, "1g"),
            ("1.5g", 3 << 29, "1536m"),
            ("100", 100, "100"),
            ("0", 0, "0"),
            ("512k", 512 << 10, "512k"),
            ("2 G", 2 << 30, "2g"),
        ] {
            assert_eq!(parse_size(text), Ok(expected), "{text}");
            assert_eq!(print_size(expected), printed, "{text}");
        }
        for text in ["", "M", "1x", "-1", "1.2.3", "99999999p"] {
            assert!(parse_size(text).is_err(), "{text:?} must be no size");
        }
    }
}
