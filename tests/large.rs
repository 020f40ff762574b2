//! Is a large value there whole or not at all, whatever happens beside it?

use cairnlog::{
    AppendOptions, CompactOptions, Durability, ErrorKind, LargeReader, LargeWriter, Log, Options,
    Producer, Reader, Retention, Seq,
    format::piece::Piece,
    vfs::sim::{Errno, Fault, FaultRule, OpKind, SimFs},
};
use std::{
    io::{self, BufRead, Read, Write},
    path::Path,
    sync::Arc,
};

/// With pieces of 100 bytes, 68 of them of the value.
fn small() -> Options {
    Log::options().record_bytes_max(100).segment_bytes(1024)
}

const PIECE: usize = 68;

fn bytes(seed: usize, count: usize) -> Vec<u8> {
    let byte = |at: usize| (at * 31 + seed * 7 + at / 251) as u8;
    (0..count).map(byte).collect()
}

fn put(log: &Log, value: &[u8]) -> Seq {
    let mut writer = log.large_writer(&AppendOptions::new()).unwrap();
    writer.write_all(value).unwrap();
    writer.finish().unwrap()
}

fn all(mut reader: LargeReader) -> Vec<u8> {
    let mut out = Vec::new();
    reader.read_to_end(&mut out).unwrap();
    assert_eq!(out.len() as u64, reader.value_bytes());
    out
}

fn get(log: &Log, seq: Seq) -> Vec<u8> {
    all(log.large(seq).unwrap().expect("it is there"))
}

/// The values that are visible, by their numbers.
fn visible(reader: &Reader) -> Vec<(Seq, Vec<u8>)> {
    let records = reader.scan(..).unwrap();
    let values = records.filter_map(|record| reader.large_of(&record.unwrap()).unwrap());
    values.map(|value| (value.seq(), all(value))).collect()
}

#[test]
fn is_a_value_of_any_size_read_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let sizes = [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 20 * PIECE + 5];
    let log = small().open(&path).unwrap();
    let mut expected = Vec::new();
    for size in sizes {
        let value = bytes(size, size);
        let before = log.next_seq();
        let seq = put(&log, &value);
        assert_eq!(
            seq - before + 1,
            size.div_ceil(PIECE).max(1) as u64,
            "records for {size}"
        );
        assert_eq!(get(&log, seq), value);
        expected.push((seq, value));
    }
    assert_eq!(visible(&log.reader()), expected);
    let reader = Reader::open(&path).unwrap(); // As another process does.
    assert_eq!(visible(&reader), expected);
    log.close().unwrap();
    let log = Log::open(&path).unwrap();
    assert_eq!(visible(&log.reader()), expected);
    assert!(log.large(1_000).unwrap().is_none());
    // With pieces of full size; written in bits, and read by lines.
    let value: String = (0..200_000).map(|number| format!("{number}\n")).collect();
    let mut writer = log.large_writer(&AppendOptions::new()).unwrap();
    for part in value.as_bytes().chunks(7_001) {
        writer.write_all(part).unwrap();
    }
    writer.flush().unwrap();
    assert_eq!(writer.value_bytes(), value.len() as u64);
    let seq = writer.finish().unwrap();
    let reader = log.large(seq).unwrap().unwrap();
    assert_eq!(
        seq - reader.first_seq() + 1,
        (value.len() as u64).div_ceil((256 << 10) - 32)
    );
    let lines = reader
        .lines()
        .map(|line| line.unwrap().parse::<u64>().unwrap());
    assert!(lines.eq(0..200_000));
}

#[test]
fn are_values_that_are_written_at_the_same_time_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path().join("log")).unwrap();
    let values: Vec<_> = (0..3).map(|seed| bytes(seed, 700 + 100 * seed)).collect();
    let new = |_| log.large_writer(&AppendOptions::new()).unwrap();
    let mut writers: Vec<LargeWriter> = (0..3).map(new).collect();
    let mut unfinished = new(3);
    for at in 0..9 {
        for (writer, value) in writers.iter_mut().zip(&values) {
            let part = value.chunks(100).nth(at).unwrap_or_default();
            writer.write_all(part).unwrap();
            unfinished.write_all(part).unwrap();
            log.append("and something else").unwrap();
        }
    }
    assert_eq!(visible(&log.reader()), [], "none is finished");
    let mut expected = Vec::new();
    for (number, writer) in writers.iter_mut().enumerate().rev() {
        let seq = writer.finish().unwrap();
        assert_eq!(writer.finish().unwrap(), seq, "it says so again");
        assert_eq!(
            writer.write(b"more").unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
        expected.push((seq, values[number].clone()));
    }
    drop(unfinished);
    put(&log, b"");
    assert_eq!(visible(&log.reader())[..3], expected);
    assert_eq!(visible(&log.reader()).len(), 4);
}

#[test]
fn is_a_value_that_is_asked_for_twice_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path().join("log")).unwrap();
    let (value, id) = (bytes(1, 500), 7);
    let mut told = Vec::new();
    for _ in 0..2 {
        let how = AppendOptions::new().producer(Producer {
            id,
            epoch: 0,
            number: 1,
        });
        let mut writer = log.large_writer(&how).unwrap();
        writer.write_all(&value).unwrap();
        told.push(writer.finish().unwrap());
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(visible(&log.reader()), [(told[0], value)]);
}

#[test]
fn is_a_value_gone_with_its_first_piece() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path().join("log")).unwrap();
    let value = bytes(1, 500);
    let first = put(&log, &value);
    let second = put(&log, &value);
    let mut reading = log.large(second).unwrap().unwrap();
    let first_seq = reading.first_seq();
    log.trim(first_seq).unwrap();
    assert_eq!(visible(&log.reader()), [(second, value.clone())]);
    let error = log.large(first).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Trimmed);
    log.trim(first_seq + 1).unwrap();
    assert_eq!(visible(&log.reader()), []);
    assert_eq!(log.large(second).unwrap_err().kind(), ErrorKind::Trimmed);
    // Who reads it already reads on.
    let mut out = Vec::new();
    reading.read_to_end(&mut out).unwrap();
    assert_eq!(out, value);

    // Retention took the first pieces of one that was being written.
    let mut writer = log.large_writer(&AppendOptions::new()).unwrap();
    writer.write_all(&bytes(2, 5000)).unwrap();
    log.retain(&Retention::new().bytes_max(1024)).unwrap();
    let error = writer.finish().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Trimmed, "{error}");
    assert_eq!(visible(&log.reader()), []);
}

#[test]
fn is_a_value_of_which_pieces_were_rewound_not_finished() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path().join("log")).unwrap();
    let kept = put(&log, b"kept");
    let mut writer = log.large_writer(&AppendOptions::new()).unwrap();
    writer.write_all(&bytes(2, 500)).unwrap();
    let end = log.sync().unwrap();
    log.rewind(end - 2).unwrap();
    let error = writer.finish().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(visible(&log.reader()), [(kept, b"kept".to_vec())]);
}

/// A filter that knows nothing of pieces drops one: the value is damaged, whoever reads it is told so before its end,
/// and told again.
#[test]
fn is_a_piece_that_is_missing_damage_and_never_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path().join("log")).unwrap();
    let value = bytes(1, 500);
    let seq = put(&log, &value);
    log.rotate().unwrap();
    log.append("the tail is not compacted").unwrap();
    log.maintain().unwrap();
    let keep = |record: &cairnlog::RecordRef<'_>| {
        let piece = record.value.and_then(Piece::decode);
        piece.is_none_or(|(piece, _)| piece.offset != 3 * PIECE as u64)
    };
    let report = log.compact(&CompactOptions::new().filter(keep)).unwrap();
    assert_eq!(report.dropped_count, 1, "{report:?}");
    let mut reader = log.large(seq).unwrap().expect("its last piece is there");
    let mut out = Vec::new();
    for _ in 0..2 {
        let error = reader.read_to_end(&mut out).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    }
    assert_eq!(out, value[..3 * PIECE]);
    let error = reader.next_piece().unwrap_err();
    assert_eq!(
        (error.kind(), error.place().seq),
        (ErrorKind::Damaged, Some(seq))
    );
}

/// A record that is only written is not shown as durable, and its pieces are not called missing.
#[test]
fn is_a_value_shown_at_the_level_of_its_reader() {
    let dir = tempfile::tempdir().unwrap();
    let options = small().background(false);
    let log = options.open(dir.path().join("log")).unwrap();
    let value = bytes(1, 500);
    let how = AppendOptions::new().durability(Durability::Written);
    let mut writer = log.large_writer(&how).unwrap();
    writer.write_all(&value).unwrap();
    let seq = writer.finish().unwrap();
    let soon = log.reader().including_written();
    let record = soon.get(seq).unwrap().unwrap();
    assert!(log.large(seq).unwrap().is_none());
    assert!(log.large_of(&record).unwrap().is_none());
    assert_eq!(visible(&soon), [(seq, value.clone())]);
    log.sync().unwrap();
    assert_eq!(get(&log, seq), value);
}

#[test]
fn goes_writing_on_where_there_is_room_again() {
    let disk = SimFs::new(1);
    let options = small().vfs(Arc::new(disk.clone())).background(false);
    let log = options.open(Path::new("/log")).unwrap();
    let value = bytes(1, 1000);
    let mut writer = log.large_writer(&AppendOptions::new()).unwrap();
    let mut taken = 0;
    let mut refused = 0;
    while taken < value.len() {
        if refused < 5 {
            disk.clear_faults();
            disk.fail(FaultRule::nth(OpKind::Write, 0, Fault::Error(Errno::Enospc)).for_ever());
        }
        match writer.write(&value[taken..]) {
            Ok(count) => taken += count,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                refused += 1;
                disk.clear_faults();
            }
        }
    }
    assert_eq!(refused, 5);
    let seq = writer.finish().unwrap();
    assert_eq!(visible(&log.reader()), [(seq, value)]);
}

#[test]
fn is_a_log_of_records_too_small_for_pieces_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = Log::options().record_bytes_max(32);
    let log = options.open(dir.path().join("log")).unwrap();
    let error = log.large_writer(&AppendOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

/// A task that stops waiting in the midst of a piece, as by a time-out, and begins again where it was.
#[cfg(feature = "async")]
#[test]
fn does_a_task_that_stops_waiting_lose_nothing_and_write_nothing_twice() {
    use futures_util::{FutureExt, TryStreamExt};

    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path().join("log")).unwrap();
    let value = bytes(1, 5000);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut writer = log.large_writer(&AppendOptions::new()).unwrap();
        for part in value.chunks(PIECE) {
            // Polled once and dropped. The piece before is full: it may be queued by now, and of this part nothing is
            // taken before it is written.
            let before = writer.value_bytes();
            let _ = writer.write_all_async(part).now_or_never();
            let taken = (writer.value_bytes() - before) as usize;
            writer.write_all_async(&part[taken..]).await.unwrap();
        }
        let _ = writer.finish_async().now_or_never();
        let seq = writer.finish_async().await.unwrap();
        assert_eq!(seq + 1, (value.len() as u64).div_ceil(PIECE as u64));
        let pieces = log.large(seq).unwrap().unwrap().into_stream();
        let out: Vec<u8> = pieces
            .map_ok(|piece| piece.to_vec())
            .try_concat()
            .await
            .unwrap();
        assert_eq!(out, value);
    });
}
