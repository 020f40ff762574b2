//! The tables as plain text, while they come in.

use crate::{engine, plan::Table, results::Row};

const COLUMNS: [(&str, &str); 31] = [
    ("rate/s", "rate"),
    ("handed/s", "handed_over_rate"),
    ("get/s", "get_rate"),
    ("p50 us", "p50_us"),
    ("p99 us", "p99_us"),
    ("p99.9", "p999_us"),
    ("flush/op", "flushes"),
    ("dev B/B", "device_ratio"),
    ("cpu us", "cpu_us"),
    ("read B/s", "read_bytes_per_s"),
    ("of copy", "copy_ratio"),
    ("of appends", "of_appends"),
    ("scan x", "scan_gain"),
    ("verify x", "verify_gain"),
    ("disk B/B", "disk_ratio"),
    ("bare B/B", "bare_ratio"),
    ("bare/s", "bare_rate"),
    ("of bare", "of_bare"),
    ("unpack/s", "bare_unpack_rate"),
    ("alone p99", "held_p99_us"),
    ("beside p99", "beside_p99_us"),
    ("verify/s", "verify_rate"),
    ("scan/s", "scan_rate"),
    ("open ms", "open_ms"),
    ("open MiB", "open_peak_mib"),
    ("append us", "append_us"),
    ("rotate us", "rotate_us"),
    ("get us", "get_us"),
    ("wake us", "wake_us"),
    ("B/segment", "memory_bytes_per_segment"),
    ("peak MiB", "peak_mib"),
];

/// The columns of which there is anything, the best first.
pub fn print(table: &Table, rows: &[Row]) {
    let work = &table.work;
    print!(
        "\n{}, {} B, {} threads",
        work.workload, work.payload_bytes, work.threads
    );
    println!(
        "{}",
        if work.size > 0 {
            format!(", size {}", work.size)
        } else {
            String::new()
        }
    );
    let there = |name: &str| rows.iter().any(|row| row.median(name).is_some());
    let columns: Vec<_> = COLUMNS
        .into_iter()
        .filter(|(_, name)| there(name))
        .collect();
    print!("{:<16}", "");
    for (title, _) in &columns {
        print!("{title:>12}");
    }
    println!("  spread of the rate");
    let rate = |row: &Row| row.median("rate").unwrap_or(0.0);
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
    for row in rows {
        let found = engine::find(&row.engine);
        let mark = if found.is_ok_and(|it| it.kind == engine::Kind::NotDurable) {
            " *"
        } else {
            ""
        };
        print!("{:<16}", format!("{}{mark}", row.engine));
        for (_, name) in &columns {
            print!("{:>12}", row.median(name).map_or("-".to_owned(), number));
        }
        let spread = row
            .spread("rate")
            .map(|it| format!("{}..{}", number(it.min), number(it.max)));
        println!("  {}", spread.unwrap_or_default());
    }
}

/// Three digits that matter.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        it if it >= 100.0 || it == 0.0 => 0,
        it if it >= 10.0 => 1,
        it if it >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((&*text, ""), |(whole, rest)| (whole, rest));
    let mut grouped = String::new();
    for (at, c) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && c.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(c);
    }
    if rest.is_empty() {
        grouped
    } else {
        format!("{grouped}.{rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn are_numbers_shown_with_the_digits_that_matter() {
        let shown = [0.0, 0.01234, 0.97, 12.34, 123.4, 1_234_567.0].map(number);
        assert_eq!(shown, ["0", "0.0123", "0.97", "12.3", "123", "1,234,567"]);
    }
}
