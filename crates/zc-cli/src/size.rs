//! Sizes as people write them: `64MiB`, `1.5G`, `1k`, `4096`.

/// Parses a number of bytes with an optional suffix.
///
/// As in dd(1) and sort(1), a bare letter and `KiB` are powers of 1024, and `kB` of 1000.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let (number, rest) = digits(text);
    let (decimals, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
    if number.is_empty() {
        return Err("a size begins with a digit".into());
    }
    let unit = unit(suffix).ok_or_else(|| format!("unknown suffix '{suffix}'; try 64MiB"))?;
    let too_large = || String::from("too large");
    let number: u64 = number.parse().map_err(|_| too_large())?;
    let whole = number.checked_mul(unit).ok_or_else(too_large)?;
    let part = fraction(decimals, unit).ok_or("not a whole number of bytes")?;
    whole.checked_add(part).ok_or_else(too_large)
}

/// The digits that `text` begins with, and the rest.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len())
}

/// `0.decimals` of a unit, if that comes to whole bytes.
fn fraction(decimals: &str, unit: u64) -> Option<u64> {
    let decimals = decimals.trim_end_matches('0');
    if decimals.is_empty() {
        return Some(0);
    }
    let scale = 10_u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    let product = decimals.parse::<u128>().ok()?.checked_mul(unit.into())?;
    product.is_multiple_of(scale).then(|| (product / scale) as u64)
}

/// [`parse`], for what makes no sense without a byte.
pub(crate) fn parse_nonzero(text: &str) -> Result<u64, String> {
    match parse(text)? {
        0 => Err("at least 1 byte".into()),
        n => Ok(n),
    }
}

fn unit(suffix: &str) -> Option<u64> {
    let suffix = suffix.to_ascii_lowercase();
    let mut chars = suffix.chars();
    let power = match chars.next() {
        None => return Some(1),
        Some('b') if suffix.len() == 1 => return Some(1),
        Some(letter) => "kmgt".find(letter)? as u32 + 1,
    };
    match chars.as_str() {
        "" | "ib" => Some(1024_u64.pow(power)),
        "b" => Some(1000_u64.pow(power)),
        _ => None,
    }
}

/// A number of bytes for people to read: `64 MiB`, `1.5 GiB`.
pub(crate) fn show(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    // "64 MiB", since that is how it was asked for.
    let decimals = if value.fract() == 0.0 { 0 } else { 1 };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// `1234567` as `1,234,567`.
pub(crate) fn group(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_parsed() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("12B", 12),
            ("1k", 1024),
            ("1K", 1024),
            ("1KiB", 1024),
            ("1kib", 1024),
            ("1kB", 1000),
            ("64MiB", 64 << 20),
            ("64M", 64 << 20),
            ("3MB", 3_000_000),
            ("2G", 2 << 30),
            ("1T", 1 << 40),
            ("1.5M", 3 << 19),
            ("0.5k", 512),
            ("1.25kB", 1250),
            ("1.500GiB", 3 << 29),
            ("2.0", 2),
            ("0.0009765625k", 1),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "k",
            "-1",
            "1x",
            ".5M",
            "1kk",
            "1 k",
            "1bb",
            "0x10",
            "16777216T",
            "1.5",
            "1.1k",
            "1..5M",
            "0.00001k",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("18446744073709551616").is_err());
        assert!(parse_nonzero("0").is_err());
    }

    #[test]
    fn sizes_are_shown() {
        assert_eq!(show(0), "0 B");
        assert_eq!(show(1023), "1023 B");
        assert_eq!(show(1536), "1.5 KiB");
        assert_eq!(show(1 << 30), "1 GiB");
        assert_eq!(show(1 << 60), "1048576 TiB");
        assert_eq!(group(0), "0");
        assert_eq!(group(999), "999");
        assert_eq!(group(1_234_567), "1,234,567");
    }
}
