//! Moments as they are written on a command line.

use crate::open;
use jiff::{Timestamp, civil};

/// A moment, in milliseconds since 1970: RFC 3339, a date (UTC), milliseconds, or how long ago.
pub fn moment(text: &str) -> Result<i64, String> {
    if let Ok(unix_ms) = text.parse::<i64>() {
        return Ok(unix_ms);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    if let Ok(ago) = open::duration(text) {
        let ago_ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp::now().as_millisecond().saturating_sub(ago_ms));
    }
    let midnight = text.parse::<civil::Date>().ok().and_then(|date| {
        let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(midnight.timestamp().as_millisecond())
    });
    midnight.ok_or_else(|| {
        "a time such as 2024-06-01T12:00:00Z, 2024-06-01, 1717243200000, or 1h for an hour ago was \
         expected"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        assert_eq!(moment("1700000000123"), Ok(1_700_000_000_123));
        assert_eq!(moment("-5"), Ok(-5));
        assert_eq!(moment("2023-11-14T22:13:20.123Z"), Ok(1_700_000_000_123));
        assert_eq!(
            moment("2023-11-15T00:13:20.123+02:00"),
            Ok(1_700_000_000_123)
        );
        assert_eq!(moment("1970-01-02"), Ok(86_400_000));
        assert!(moment("yesterday").is_err());
    }

    #[test]
    fn how_long_ago() {
        let now_ms = Timestamp::now().as_millisecond();
        for (text, ago_ms) in [("1h", 3_600_000), ("90s", 90_000), ("7d", 604_800_000)] {
            let found = moment(text).expect("a time");
            assert!((0..60_000).contains(&(found - (now_ms - ago_ms))), "{text}");
        }
    }
}
