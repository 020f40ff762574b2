//! The tables as plain text, while they come in.

use crate::{engine, plan::Table, results::Row};

const COLUMNS: [(&str, &str); 9] = [
    ("rate/s", "rate"),
    ("handed/s", "handed_over_rate"),
    ("p50 us", "p50_us"),
    ("p99 us", "p99_us"),
    ("p99.9", "p999_us"),
    ("flush/op", "flushes"),
    ("dev B/B", "device_ratio"),
    ("cpu us", "cpu_us"),
    ("MiB", "peak_mib"),
];

pub fn print(table: &Table, rows: &[Row]) {
    let work = &table.work;
    println!(
        "\n{} · {} B · {} threads",
        work.workload, work.payload_bytes, work.threads
    );
    print!("{:<16}", "");
    for (title, _) in COLUMNS {
        print!("{title:>12}");
    }
    println!("  spread of the rate");
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by(|a, b| {
        b.median("rate")
            .unwrap_or(0.0)
            .total_cmp(&a.median("rate").unwrap_or(0.0))
    });
    for row in rows {
        let honest = engine::find(&row.engine).is_ok_and(|it| it.kind != engine::Kind::NotDurable);
        print!(
            "{:<16}",
            format!("{}{}", row.engine, if honest { "" } else { " *" })
        );
        for (_, name) in COLUMNS {
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
