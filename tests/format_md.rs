//! `format.md` is executable: its examples are what the encoders write and the decoders read, its
//! byte tables are contiguous and stand where the fields stand, its constants and limits are true.
//!
//! Everything is checked by one function over the text, so that the last test can change every
//! digit in turn and see it fail.

#[path = "format_md/blocks.rs"]
mod blocks;
#[path = "format_md/examples.rs"]
mod examples;
#[path = "format_md/layouts.rs"]
mod layouts;
#[path = "format_md/tables.rs"]
mod tables;

use blocks::blocks;

const SPEC: &str = include_str!("../format.md");

type Check = fn(&str) -> Result<(), String>;

const CHECKS: [Check; 7] = [
    examples::check,
    examples::check_agreement,
    layouts::check_layouts,
    tables::check_seeds,
    tables::check_features,
    tables::check_limits,
    tables::check_costs,
];

#[test]
fn every_example_is_what_the_encoder_writes_and_the_decoder_reads() {
    examples::check(SPEC).unwrap();
}

#[test]
fn every_byte_table_is_contiguous_and_true() {
    layouts::check_layouts(SPEC).unwrap();
}

#[test]
fn the_constants_and_formulas_of_the_checksums_give_the_checksums_of_the_examples() {
    tables::check_seeds(SPEC).unwrap();
}

#[test]
fn limits_and_costs_are_those_of_the_code() {
    tables::check_limits(SPEC).unwrap();
    tables::check_costs(SPEC).unwrap();
}

/// A frozen format: what a reader of today was written from does not change under it.
#[test]
fn what_was_frozen_is_as_it_was() {
    let frozen = include_str!("format_md/frozen.txt");
    tables::check_features(SPEC).unwrap();
    tables::check_frozen(SPEC, frozen).unwrap();
    assert!(frozen.lines().count() > 200);
    // Proved by mutation: each line of it that says something else is noticed.
    for (number, line) in frozen.lines().enumerate() {
        let is_row = line.starts_with(|it: char| it.is_ascii_digit());
        if is_row {
            let other = format!("{line}_");
            let lines = frozen.lines().enumerate();
            let changed: Vec<&str> = lines
                .map(|(at, line)| if at == number { &*other } else { line })
                .collect();
            assert!(
                tables::check_frozen(SPEC, &changed.join("\n")).is_err(),
                "nobody notices {line}"
            );
        }
    }
}

#[test]
fn the_examples_are_one_log_that_agrees_with_itself() {
    examples::check_agreement(SPEC).unwrap();
}

#[test]
fn every_structure_has_an_example() {
    let found = blocks(SPEC).unwrap();
    for tag in [
        "segment-header",
        "batch-header",
        "record",
        "annex",
        "packed-batch",
        "sealed-batch",
        "footer",
        "manifest",
        "producers",
        "cursor",
        "watermark",
        "piece",
    ] {
        assert!(
            found.iter().any(|it| it.tag == tag),
            "format.md lost its example of a {tag}"
        );
    }
}

/// The checks above, proved by mutation: another digit anywhere in an example, in its arguments, in
/// the offsets and sizes of a table, in a constant or a limit, and one of them fails.
#[test]
fn no_digit_can_change_unnoticed() {
    let places = mutable_places(SPEC);
    assert!(
        places.len() > 2000,
        "only {} digits are checked",
        places.len()
    );
    assert!(
        CHECKS.iter().all(|check| check(SPEC).is_ok()),
        "the page as it is fails already"
    );
    let mut text = SPEC.to_owned().into_bytes();
    for place in places {
        let was = text[place];
        text[place] = if was == b'1' { b'2' } else { b'1' };
        let mutated = String::from_utf8(text.clone()).unwrap();
        let line = mutated[..place].lines().count();
        assert!(
            CHECKS.iter().any(|check| check(&mutated).is_err()),
            "nobody notices another digit in line {line}, byte {place}: {:?}",
            mutated.lines().nth(line - 1),
        );
        text[place] = was;
    }
}

/// Where the digits stand that must be true: hex and arguments of the examples, numbers in tables.
fn mutable_places(spec: &str) -> Vec<usize> {
    let mut places = Vec::new();
    let (mut start, mut in_block) = (0, false);
    for line in spec.split_inclusive('\n') {
        let head = line.starts_with("```hex ");
        in_block = head || (in_block && !line.starts_with("```"));
        let cells: Vec<&str> = line.split('|').collect();
        let part = match cells.get(1..3) {
            _ if head => line.len(),
            _ if in_block => line.find(';').unwrap_or(line.len()),
            Some([first, second]) if tables::is_checked_row(first, second) => {
                cells[..3].iter().map(|cell| cell.len() + 1).sum()
            }
            _ => 0,
        };
        let digit =
            |byte: u8| byte.is_ascii_digit() || (in_block && !head && byte.is_ascii_hexdigit());
        places.extend(
            line.bytes()
                .take(part)
                .enumerate()
                .filter(|(_, byte)| digit(*byte))
                .map(|(at, _)| start + at),
        );
        start += line.len();
    }
    places
}
