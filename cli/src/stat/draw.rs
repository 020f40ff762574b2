//! The picture of a log for people: a bar, a table of segments, the cursors.

use super::{Picture, StatArgs};
use crate::{cursor, keys, output};
use owo_colors::OwoColorize;
use std::io::{self, Write};

/// Columns of the bar.
const COLUMNS: u64 = 64;
/// Segments listed without `--all`: so many at the start, and at the end.
const LISTED: usize = 12;

impl Picture {
    pub(super) fn draw(&self, out: &mut impl Write, args: &StatArgs) -> io::Result<()> {
        let manifest = &self.manifest;
        writeln!(
            out,
            "{}  log {}, created {}",
            args.dir.display().bold(),
            manifest.log_id,
            output::time(manifest.created_ms)
        )?;
        let records = output::counted(self.record_count() - self.hidden_count(), "record");
        write!(
            out,
            "{records}, seq {}..{}",
            manifest.head_seq, self.next_seq
        )?;
        if manifest.clean {
            writeln!(out, ", closed in order")?;
        } else if self.proven_seq < self.next_seq {
            let unproven = self.next_seq - self.proven_seq;
            let records = output::counted(unproven, "record");
            writeln!(
                out,
                ", open or not closed, {records} at the end not proven durable"
            )?;
        } else {
            writeln!(out, ", open or not closed")?;
        }
        write!(out, "{} in files", output::bytes(self.file_bytes()))?;
        if self.hidden_count() > 0 {
            let hidden = output::counted(self.hidden_count(), "trimmed record");
            write!(out, ", {hidden} still in them")?;
        }
        if self.quarantine_bytes > 0 {
            write!(
                out,
                ", {} in quarantine",
                output::bytes(self.quarantine_bytes)
            )?;
        }
        writeln!(out)?;
        self.draw_dirty(out)?;
        match &self.keys {
            Some(in_use) => writeln!(out, "{}", keys::in_use_text(in_use))?,
            None if self.is_sealing() => {
                writeln!(out, "records are sealed: --keys tells under which keys")?;
            }
            None => {}
        }
        writeln!(out, "\n  {}\n", self.bar())?;
        self.table(out, args)?;
        self.draw_marks(out)?;
        match &self.cursors {
            Some(cursors) if cursors.is_empty() => Ok(()),
            Some(cursors) => {
                writeln!(out)?;
                cursor::table(out, cursors)
            }
            None => writeln!(
                out,
                "\nthe cursors cannot be told: `cairn cursor list` says why"
            ),
        }
    }

    fn draw_marks(&self, out: &mut impl Write) -> io::Result<()> {
        let marks = &self.manifest.marks;
        if marks.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{}", output::counted(marks.len() as u64, "mark"))?;
        marks.iter().try_for_each(|mark| {
            let bytes = output::bytes(mark.value.len() as u64);
            writeln!(out, "  {}  {bytes}", mark.name)
        })
    }

    /// How much compaction may shrink, if there are keys.
    fn draw_dirty(&self, out: &mut impl Write) -> io::Result<()> {
        let sealed = &self.manifest.sealed;
        if !sealed.iter().any(|entry| entry.keyed_count > 0) {
            return Ok(());
        }
        let (sealed_bytes, dirty_bytes) = self.sealed_bytes();
        let percent = u128::from(dirty_bytes) * 100 / u128::from(sealed_bytes.max(1));
        writeln!(
            out,
            "{percent}% of {} sealed is dirty",
            output::bytes(sealed_bytes)
        )
    }

    /// The files of the log side by side, a column for a share of the bytes.
    fn bar(&self) -> String {
        let total = self.file_bytes().max(1);
        let mut bar = String::new();
        for column in 0..COLUMNS {
            let start = u128::from(total) * u128::from(column) / u128::from(COLUMNS);
            let mut left = u64::try_from(start).unwrap_or(u64::MAX);
            for (number, part) in self.segments.iter().enumerate() {
                if left >= part.file_bytes {
                    left -= part.file_bytes;
                    continue;
                }
                bar += &match (left < part.frame_bytes, number % 2) {
                    (true, 0) => "█".cyan().to_string(),
                    (true, _) => "▓".blue().to_string(),
                    // The footer of a sealed segment is no free space.
                    (false, 0) if part.state == "sealed" => "█".cyan().to_string(),
                    (false, _) if part.state == "sealed" => "▓".blue().to_string(),
                    (false, _) => "·".dimmed().to_string(),
                };
                break;
            }
        }
        bar
    }

    fn table(&self, out: &mut impl Write, args: &StatArgs) -> io::Result<()> {
        let head = format!(
            "{:>8}  {:<6}  {:>23}  {:>11}  {:>10}  {:>10}  newest",
            "segment", "state", "seq", "records", "frames", "file"
        );
        writeln!(out, "{}", head.dimmed())?;
        let count = self.segments.len();
        for (number, part) in self.segments.iter().enumerate() {
            if !args.all && number >= LISTED && number + LISTED < count {
                if number == LISTED {
                    let more = count - 2 * LISTED;
                    writeln!(out, "{:>8}  {} more (--all lists them)", "…", more)?;
                }
                continue;
            }
            writeln!(
                out,
                "{:>8}  {:<6}  {:>23}  {:>11}  {:>10}  {:>10}  {}",
                part.id.0,
                part.state,
                format!("{}..{}", part.seqs.start, part.seqs.end),
                output::count(part.record_count),
                output::bytes(part.frame_bytes),
                output::bytes(part.file_bytes),
                part.newest_ms
                    .map_or("-".to_owned(), |time| format!("{} ago", output::age(time)))
            )?;
        }
        Ok(())
    }
}
