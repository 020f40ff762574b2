//! What the commands share when they show something: numbers and times for people, progress.

use crate::{process, stream};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use std::{
    io::{self, IsTerminal},
    thread,
    time::Duration,
};

/// Two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}

/// `1.5 MiB`: for people only.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1,234,567`: for people only.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 record`, `1,200 records`.
pub fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// A time in milliseconds since 1970, in RFC 3339.
pub fn time(unix_ms: i64) -> String {
    match Timestamp::from_millisecond(unix_ms) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => format!("{unix_ms} ms since 1970"),
    }
}

/// How long ago that was: `5 s`, `3 min`, `2 d`.
pub fn age(unix_ms: i64) -> String {
    let now_ms = Timestamp::now().as_millisecond();
    let seconds = now_ms.saturating_sub(unix_ms).max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `1.23 s`, `45 ms`: for people only.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds >= 1.0 {
        format!("{seconds:.2} s")
    } else if seconds >= 0.001 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{:.0} µs", seconds * 1e6)
    }
}

/// A rate for people.
pub fn per_second(amount: u64, time: Duration) -> u64 {
    (amount as f64 / time.as_secs_f64().max(1e-9)) as u64
}

/// Of sorted values the one that so many in a hundred do not pass, if there is any.
pub fn percentile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let last = sorted.len().checked_sub(1)?;
    let place = sorted.len() * percent / 100;
    sorted.get(place.min(last)).copied()
}

/// A bar over bytes, on standard error and only if that is a terminal. `None`: nobody knows how much
/// there is.
pub fn progress(what: &'static str, total_bytes: Option<u64>) -> ProgressBar {
    let bar = match total_bytes {
        _ if stream::is_quiet() => ProgressBar::hidden(),
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::new_spinner(),
    };
    let template = match total_bytes {
        Some(_) => "{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        None => "{msg} {spinner} {bytes} {bytes_per_sec}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("█▌·"));
    }
    bar.set_message(what);
    bar
}

/// A bar over records, for output that goes into a file or a pipe: on a terminal the records
/// themselves show how far it is.
pub fn record_progress(what: &'static str, total: u64) -> ProgressBar {
    if io::stdout().is_terminal() || stream::is_quiet() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    let template = "{msg} [{wide_bar}] {human_pos}/{human_len} records {per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("█▌·"));
    }
    bar.set_message(what);
    bar
}

/// Something that turns while nobody knows how far it is.
pub fn turning(what: &'static str) -> ProgressBar {
    if stream::is_quiet() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{msg} {spinner} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    if !bar.is_hidden() {
        let turned = bar.clone();
        let turn = move || {
            while !turned.is_finished() {
                turned.tick();
                thread::sleep(Duration::from_millis(100));
            }
        };
        // Where no thread is to be had it stands still; the bar's own way of turning would panic.
        process::thread().and_then(|thread| thread.spawn(turn)).ok();
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "record"), "1 record");
        assert_eq!(hex(&[0, 0x1f, 0xff]), "001fff");
    }

    #[test]
    fn how_many_pass_it() {
        assert_eq!(percentile::<u64>(&[], 50), None);
        assert_eq!(percentile(&[7], 99), Some(7));
        let hundred: Vec<u64> = (0..100).collect();
        let some = [0, 50, 99, 100].map(|percent| percentile(&hundred, percent));
        assert_eq!(some, [Some(0), Some(50), Some(99), Some(99)]);
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(i64::MAX), format!("{} ms since 1970", i64::MAX));
    }
}
