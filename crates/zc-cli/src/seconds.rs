//! Times as people write them: `30`, `0.5`.

use std::time::Duration;

/// Parses a number of seconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let plain = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let seconds = text.parse().ok().filter(|_| plain);
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| "not a number of seconds, such as 30 or 0.5".into())
}

/// [`parse`], for what makes no sense without any time.
pub(crate) fn parse_nonzero(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("more than 0 seconds".into()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_parsed() {
        assert_eq!(parse("0"), Ok(Duration::ZERO));
        assert_eq!(parse("1.5"), Ok(Duration::from_millis(1500)));
        for text in ["", "-1", "1s", "inf", "NaN", "1e3", "1e400", "9".repeat(30).as_str()] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse_nonzero("0.0").is_err());
    }
}
