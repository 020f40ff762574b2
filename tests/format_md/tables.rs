//! The tables of `format.md` and what they say of checksums, limits and costs.

use super::blocks::{blocks, file};
use super::examples::number;
use super::layouts::{CONTEXT, frame};
use cairnlog::format::batch::{ANNEX_BYTES_MIN, BATCH_HEADER_BYTES, COUNT_MAX, encode_annex};
use cairnlog::format::cursor::{
    CURSOR_BYTES, NAME_BYTES_MAX, PENDING_BYTES, PENDING_MAX, WAITING_BYTES,
};
use cairnlog::format::footer::{FOOTER_BYTES, INDEX_ENTRY_BYTES, INDEX_STEP_BYTES};
use cairnlog::format::header::HEADER_BYTES;
use cairnlog::format::manifest::{FRAMES_END_MAX, MANIFEST_BYTES, SEALED_MAX};
use cairnlog::format::marks::{MARK_VALUE_BYTES_MAX, MARKS_BYTES_MAX};
use cairnlog::format::moves::MOVE_BYTES;
use cairnlog::format::producers::PRODUCERS_BYTES;
use cairnlog::format::record::{KEY_BYTES_MAX, Producer, RecordParts, VALUE_BYTES_MAX, encode};
use cairnlog::format::sealed::{self, FACTS_BYTES, SEALED_BYTES_MIN};
use cairnlog::format::{
    FAR_FEATURE, MARKS_FEATURE, MOVES_FEATURE, NUMBER_MAX, PACKED_APPENDS_FEATURE, PACKED_FEATURE,
    RECYCLED, SEALED_FEATURE, crc32c,
};

type Outcome<T = ()> = Result<T, String>;

/// Whether a table row begins with two cells in which every digit is checked.
pub fn is_checked_row(first: &str, second: &str) -> bool {
    let (first, second) = (first.trim(), second.trim());
    let counts = !first.is_empty() && first.chars().all(|it| it.is_ascii_digit() || it == '–');
    let named = second.starts_with('`') || ["reserved", "pattern", "marker"].contains(&second);
    second.starts_with("0x")
        || second.starts_with("+ ")
        || second.starts_with(|it: char| it.is_ascii_digit())
        || (counts && named)
}

/// The rows of every table whose header row starts with these cells.
pub fn tables<'a>(spec: &'a str, header: &[&str]) -> Vec<Vec<Vec<&'a str>>> {
    let mut found = Vec::new();
    let mut lines = spec.lines();
    while let Some(line) = lines.next() {
        let cells = cells(line);
        if !cells
            .iter()
            .zip(header)
            .all(|(cell, name)| cell.starts_with(name))
            || cells.len() < header.len()
        {
            continue;
        }
        let rows = lines
            .by_ref()
            .skip(1)
            .take_while(|line| line.starts_with('|'));
        found.push(rows.map(self::cells).collect());
    }
    found
}

pub fn table<'a>(spec: &'a str, header: &[&str]) -> Outcome<Vec<Vec<&'a str>>> {
    let mut found = tables(spec, header);
    if found.len() == 1 {
        Ok(found.remove(0))
    } else {
        Err(format!("{} tables {header:?}", found.len()))
    }
}

fn cells(line: &str) -> Vec<&str> {
    let inner = line
        .strip_prefix('|')
        .and_then(|line| line.strip_suffix('|'));
    inner.map_or_else(Vec::new, |line| {
        line.split('|')
            .map(|cell| cell.trim().trim_matches('`'))
            .collect()
    })
}

/// The bits of features are those of the code, and each is given out once.
pub fn check_features(spec: &str) -> Outcome {
    let rows = table(spec, &["Bit", "Feature", "Required"])?;
    let named = rows.iter().filter(|row| row[1] != "free");
    let stated: Vec<(u32, &str)> = named
        .map(|row| Ok((1 << number::<u32>(row[0])?, row[1])))
        .collect::<Outcome<_>>()?;
    let known = [
        (RECYCLED, "recycled"),
        (MOVES_FEATURE, "moves"),
        (PACKED_FEATURE, "packed"),
        (SEALED_FEATURE, "sealed"),
        (MARKS_FEATURE, "marks"),
        (FAR_FEATURE, "far"),
        (PACKED_APPENDS_FEATURE, "packed appends"),
    ];
    (stated == known)
        .then_some(())
        .ok_or_else(|| format!("features: {stated:?}"))
}

/// Every field, bit and constant that the page had when the format was frozen is there still, in the same place of the
/// same structure. What is reserved may become a field.
pub fn check_frozen(spec: &str, frozen: &str) -> Outcome {
    let of = |header: &[&str], columns: &[usize]| -> Vec<Vec<String>> {
        let row = |row: Vec<&str>| {
            columns
                .iter()
                .map(|at| row[*at])
                .collect::<Vec<_>>()
                .join(" ")
        };
        let rows = |rows: Vec<Vec<&str>>| rows.into_iter().map(row).collect();
        tables(spec, header).into_iter().map(rows).collect()
    };
    let fields = of(&["Offset", "Size", "Field"], &[0, 1, 2]);
    let constants = of(&["Structure", "Constant", "Place"], &[1, 0]);
    let bits = of(&["Bits of"], &[0, 1]);
    for block in frozen.split("\n\n") {
        let mut lines = block.lines();
        let tables = match lines.next() {
            Some("fields") => &fields,
            Some("constants") => &constants,
            Some(head) if head.starts_with("bits of") => &bits,
            head => return Err(format!("{head:?} is no kind of table")),
        };
        let rows: Vec<&str> = lines.collect();
        let has = |table: &Vec<String>| rows.iter().all(|row| table.iter().any(|it| it == row));
        if rows.is_empty() || !tables.iter().any(has) {
            return Err(format!("no table has all of {rows:?}"));
        }
    }
    Ok(())
}

/// Recomputes the checksum of every example from the constants and ranges on the page.
pub fn check_seeds(spec: &str) -> Outcome {
    if crc32c(0, b"123456789") != number(between(spec, "`123456789`, is ", ".")?)? {
        return Err("the check value".into());
    }
    let rows = table(spec, &["Structure", "Constant", "Place"])?;
    let row = |name: &str| {
        let row = rows
            .iter()
            .find(|row| row[0] == name)
            .ok_or_else(|| format!("no constant of a {name}"))?;
        let constant: u32 = number(row[1])?;
        let mut words = row[3]
            .split(|it: char| !it.is_ascii_digit())
            .filter_map(|it| number(it).ok());
        let (from, to): (usize, Option<usize>) = (words.next().unwrap_or(0), words.next());
        Ok::<_, String>((constant, from, to.map(|to| to + 1)))
    };
    let (constant, from, _) = row("Annex")?;
    let (salt, annex) = (CONTEXT.salt, encode_annex(7, b"content", &CONTEXT, 128));
    let sum = crc32c(
        (salt ^ 128) as u32 ^ (salt >> 32) as u32 ^ constant,
        annex.get(from..).unwrap_or_default(),
    );
    if annex[..4] != sum.to_le_bytes() {
        return Err("the checksum of an annex".into());
    }
    let found = blocks(spec)?;
    for block in &found {
        if block.tag == "piece" {
            continue; // It lies in a record, whose checksum covers it.
        }
        let bytes = &block.bytes[..];
        let text = |name: &str| {
            block
                .text(name)
                .ok_or_else(|| format!("{}: no {name}", block.tag))
        };
        if block.tag == "marks" {
            let (constant, from, _) = row("Marks")?;
            let stored = bytes.first_chunk().map(|it| u32::from_le_bytes(*it));
            let covered = bytes.get(from..).unwrap_or_default();
            if stored != Some(crc32c(constant, covered)) {
                return Err("the checksum of marks".into());
            }
            continue;
        }
        let salt = match block.text("file") {
            Some(name) => {
                let header = file(&found, name);
                header
                    .get(56..64)
                    .map_or(0, |it| u64::from_le_bytes(it.try_into().unwrap()))
            }
            None => number(text("salt")?)?,
        };
        let bound = |place: u64, constant: u32| {
            let x = salt ^ place;
            x as u32 ^ (x >> 32) as u32 ^ constant
        };
        let word = |at: usize| {
            bytes
                .get(at..at + 4)
                .map(|it| u32::from_le_bytes(it.try_into().unwrap()))
        };
        let sum = |seed: u32, from: usize, to: usize| {
            bytes.get(from..to).map(|range| crc32c(seed, range))
        };
        let mut pairs = Vec::new();
        // What is sealed has the checksum of what is packed.
        let name = block.tag.replace("sealed-", "packed-").replace('-', " ");
        let name = name[..1].to_uppercase() + &name[1..];
        let (constant, from, to) = row(&name)?;
        let end = to.unwrap_or(bytes.len());
        match block.tag.as_str() {
            "segment-header" => pairs.push((word(end), sum(constant, from, end))),
            "batch-header" => {
                let seed = bound(number(text("offset")?)?, constant);
                pairs.push((word(0), sum(seed, from, end)));
            }
            "annex" | "packed-batch" | "sealed-batch" => {
                let seed = bound(number(text("offset")?)?, constant);
                pairs.push((word(0), sum(seed, from, end)));
            }
            "record" => pairs.push((
                word(0),
                sum(bound(number(text("seq")?)?, constant), from, end),
            )),
            "footer" => {
                let frames_end = number(text("frames_end")?)?;
                pairs.push((word(end), sum(bound(frames_end, constant), from, end)));
                let (constant, ..) = row("Index")?;
                pairs.push((
                    word(68),
                    sum(bound(frames_end, constant), FOOTER_BYTES, bytes.len()),
                ));
            }
            "manifest" => {
                pairs.push((word(end), sum(constant, from, end)));
                let (constant, ..) = row("Sealed entries")?;
                pairs.push((word(84), sum(constant, MANIFEST_BYTES, bytes.len())));
            }
            "producers" | "cursor" => {
                let fixed_bytes = if block.tag == "cursor" {
                    CURSOR_BYTES
                } else {
                    PRODUCERS_BYTES
                };
                let rest = bytes.get(fixed_bytes..).unwrap_or_default();
                pairs.push((
                    word(end),
                    sum(constant, from, end).map(|sum| crc32c(sum, rest)),
                ));
            }
            "watermark" => pairs.push((word(end), sum(constant, from, end))),
            other => return Err(format!("a checksum of what? {other}")),
        }
        if pairs
            .iter()
            .any(|(stored, computed)| stored.is_none() || stored != computed)
        {
            return Err(format!(
                "the checksum of a {name} is not made as the page says"
            ));
        }
    }
    Ok(())
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Outcome<&'a str> {
    let rest = text
        .split_once(before)
        .ok_or_else(|| format!("no {before}"))?
        .1;
    Ok(rest.split_once(after).map_or(rest, |(found, _)| found))
}

/// A number with its thousands set off, as the page writes it.
fn grouped(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or_default().to_string();
    let groups: Vec<String> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|it| String::from_utf8_lossy(it).into())
        .collect();
    groups.join(",")
}

/// The limits are the constants, or what a field of that size can hold.
pub fn check_limits(spec: &str) -> Outcome {
    let most = grouped(u32::MAX);
    let days = i64::from(i32::MAX) / (24 * 60 * 60 * 1000);
    let expected = [
        format!("{} bytes KEY_BYTES_MAX", grouped(KEY_BYTES_MAX)),
        format!("{} bytes VALUE_BYTES_MAX", grouped(VALUE_BYTES_MAX)),
        format!("{} COUNT_MAX", grouped(COUNT_MAX)),
        format!("{most} bytes "),
        format!("{most} "),
        format!("{most} "),
        format!("{days} days around its beginning "),
        format!("{} SEALED_MAX", grouped(SEALED_MAX)),
        format!("{} FRAMES_END_MAX", grouped(FRAMES_END_MAX)),
        format!("{} NUMBER_MAX", grouped(NUMBER_MAX)),
        format!("{} bytes NAME_BYTES_MAX", grouped(NAME_BYTES_MAX)),
        format!("{} PENDING_MAX", grouped(PENDING_MAX)),
        format!(
            "{} bytes MARK_VALUE_BYTES_MAX",
            grouped(MARK_VALUE_BYTES_MAX)
        ),
        format!("{} bytes MARKS_BYTES_MAX", grouped(MARKS_BYTES_MAX)),
        format!("{} bytes INDEX_STEP_BYTES", grouped(INDEX_STEP_BYTES)),
    ];
    let rows = table(spec, &["Limit", "Value", "Constant"])?;
    let found: Vec<String> = rows
        .iter()
        .map(|row| format!("{} {}", row[1], row[2]))
        .collect();
    if found == expected {
        Ok(())
    } else {
        Err(format!("limits: {found:?}, the code: {expected:?}"))
    }
}

/// What framing costs, measured on what the encoders write.
pub fn check_costs(spec: &str) -> Outcome {
    let annex_bytes = BATCH_HEADER_BYTES + ANNEX_BYTES_MIN;
    let bare = frame(None, Some(b""), None, None).len();
    let key = frame(Some(b""), Some(b""), None, None).len() - bare;
    let time = frame(None, Some(b""), Some(0), None).len() - bare;
    let producer = Producer {
        id: 0,
        epoch: 0,
        number: 0,
    };
    let producer = frame(None, Some(b""), None, Some(producer)).len() - bare;
    let mut sparse = Vec::new();
    let parts = RecordParts {
        key: None,
        value: Some(b""),
        timestamp_ms: None,
        producer: None,
    };
    encode(&mut sparse, CONTEXT.salt, 7, Some(0), &parts);
    let expected = [
        (
            "A record in a batch of its own".to_owned(),
            format!("{}", BATCH_HEADER_BYTES + bare),
        ),
        (
            "A record in a batch of 6".to_owned(),
            format!("{}", BATCH_HEADER_BYTES / 6 + bare),
        ),
        (
            "A record in a batch of n".to_owned(),
            format!("{bare} + {BATCH_HEADER_BYTES}/n"),
        ),
        ("A key".to_owned(), format!("+ {key}")),
        ("A time of its own".to_owned(), format!("+ {time}")),
        ("A producer".to_owned(), format!("+ {producer}")),
        (
            "In a sparse batch".to_owned(),
            format!("+ {}", sparse.len() - bare),
        ),
        (
            "In a batch sealed under a key, of n".to_owned(),
            format!("+ {SEALED_BYTES_MIN}/n"),
        ),
        (
            "There, with keys or times of their own".to_owned(),
            format!("+ {}/n", SEALED_BYTES_MIN + FACTS_BYTES),
        ),
        (
            "There, for each append of a producer".to_owned(),
            format!("+ {}", sealed::APPEND_BYTES),
        ),
        ("A watermark".to_owned(), BATCH_HEADER_BYTES.to_string()),
        (
            "A move of a cursor".to_owned(),
            format!("{}", annex_bytes + MOVE_BYTES),
        ),
        (
            "A move in an annex of n".to_owned(),
            format!("{MOVE_BYTES} + {annex_bytes}/n"),
        ),
        (
            "A pending record in it".to_owned(),
            format!("+ {PENDING_BYTES}"),
        ),
        (
            "Pending records of which one waits".to_owned(),
            format!("+ {WAITING_BYTES}"),
        ),
        (
            format!(
                "A segment: header, footer and one index entry for at least {INDEX_STEP_BYTES} bytes"
            ),
            format!(
                "{} + 1/{} of the frames",
                HEADER_BYTES + FOOTER_BYTES,
                INDEX_STEP_BYTES / INDEX_ENTRY_BYTES as u64
            ),
        ),
    ];
    let rows = table(spec, &["What", "Bytes"])?;
    let found: Vec<_> = rows
        .iter()
        .map(|row| (row[0].to_owned(), row[1].to_owned()))
        .collect();
    if found == expected {
        Ok(())
    } else {
        Err(format!("costs: {found:?}, the code: {expected:?}"))
    }
}
