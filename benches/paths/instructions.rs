//! How many instructions do the hot paths take? Counted by valgrind, so the same on a noisy machine.
//!
//! `benches/paths/check` compares with `instructions.txt` and fails on 3 % more;
//! `benches/paths/check accept` writes it anew.

use cairn_paths as work;
use gungraun::{library_benchmark, library_benchmark_group, main};
use std::hint::black_box;

#[library_benchmark]
#[bench::a_hundred(Vec::with_capacity(16 * 1024))]
fn encode_record(mut out: Vec<u8>) -> Vec<u8> {
    (0..100).for_each(|seq| work::encode_record(&mut out, seq));
    out
}

#[library_benchmark]
#[bench::of_150_records()]
fn encode_batch() -> Vec<u8> {
    work::encode_batch().1
}

#[library_benchmark]
#[bench::of_150_records(work::encode_batch())]
fn decode(batch: (cairnlog::format::BatchHeader, Vec<u8>)) -> usize {
    work::decode(black_box(&batch))
}

#[library_benchmark]
#[bench::short_and_long(vec![7; 16 * 1024])]
fn checksum(bytes: Vec<u8>) -> u32 {
    work::checksum(black_box(&bytes))
}

#[library_benchmark]
#[bench::of_3000_records(work::empty_log())]
fn push(log: (tempfile::TempDir, cairnlog::Log)) -> (tempfile::TempDir, cairnlog::Log) {
    work::push(&log);
    log
}

#[library_benchmark]
#[bench::of_3000_records(work::full_log(true))]
fn scan(log: (tempfile::TempDir, cairnlog::Log)) -> (tempfile::TempDir, cairnlog::Log) {
    black_box(work::scan(&log));
    log
}

#[library_benchmark]
#[bench::of_3000_records(work::full_log(false))]
fn recover(log: (tempfile::TempDir, cairnlog::Log)) -> (tempfile::TempDir, cairnlog::Log) {
    work::recover(&log);
    log
}

library_benchmark_group!(
    name = paths,
    benchmarks = [
        encode_record,
        encode_batch,
        decode,
        checksum,
        push,
        scan,
        recover
    ]
);
main!(library_benchmark_groups = paths);
