//! How near is reading to the memory itself?
//!
//! In one run, alternating, over the same warm and sealed segments: a bare walk over the mapped frames,
//! with and without their checksums; Cairn's scan, lent and owned; and `get` by chance. Medians of the
//! rounds, and ratios to the bare walk with checksums; absolute times mean little on a shared machine.
//! `cargo bench --bench read`; `CAIRN_READ_MIB=256` for less than 1 GiB.

use cairnlog::{
    AppendOptions, Durability, Log, NewRecord,
    format::{BatchHeader, SegmentHeader, batch::BATCH_HEADER_BYTES, header::HEADER_BYTES},
};
use memmap2::Mmap;
use std::{
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

const ROUNDS: usize = 7;
const GETS: u64 = 200_000;

fn fill(dir: &Path, payload_bytes: usize, count: u64) -> Log {
    let log = Log::open(dir).unwrap();
    let buffered = AppendOptions::new().durability(Durability::Buffered);
    let payload = vec![7; payload_bytes];
    for _ in 0..count {
        log.append_records(&[NewRecord::value(&payload)], &buffered)
            .unwrap();
    }
    log.rotate().unwrap();
    log.sync().unwrap();
    log
}

#[allow(
    unsafe_code,
    reason = "the sealed files are left alone while they are mapped"
)]
fn map(dir: &Path) -> Vec<Mmap> {
    let names = std::fs::read_dir(dir).unwrap().map(|it| it.unwrap().path());
    let segments = names.filter(|name| name.extension().is_some_and(|it| it == "seg"));
    let open = |name| std::fs::File::open(name).unwrap();
    // SAFETY: nobody cuts or changes a sealed segment, and the log is only read from here on.
    segments
        .map(|name| unsafe { Mmap::map(&open(name)).unwrap() })
        .collect()
}

/// The shortest walk over plain records that there is; gives how many they are.
fn bare(maps: &[Mmap], verifies: bool) -> u64 {
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut records = 0;
    for map in maps {
        let Ok(header) = SegmentHeader::decode(map) else {
            continue;
        };
        let (context, mut at) = (header.context(), HEADER_BYTES);
        while let Ok(batch) = BatchHeader::decode(&map[at..], &context, at as u64) {
            at += BATCH_HEADER_BYTES;
            let body = &map[at..at + batch.body_bytes as usize];
            let (mut from, mut seq) = (0, batch.first_seq);
            for _ in 0..batch.count {
                let frame_bytes = 8 + (word(body, from + 4) & ((1 << 27) - 1)) as usize;
                if verifies {
                    let folded = context.salt ^ seq;
                    let seed = (folded as u32) ^ ((folded >> 32) as u32) ^ 0x5243_5244;
                    let frame = &body[from + 4..from + frame_bytes];
                    assert_eq!(crc32c::crc32c_append(seed, frame), word(body, from));
                }
                black_box(&body[from + 8..from + frame_bytes]);
                (from, seq) = (from + frame_bytes, seq + 1);
            }
            at += body.len();
            records += u64::from(batch.count);
        }
    }
    records
}

fn lent(log: &Log) -> u64 {
    let (mut scan, mut records) = (log.scan(..).unwrap(), 0);
    while let Some(record) = scan.next_ref() {
        black_box(record.unwrap().value);
        records += 1;
    }
    records
}

fn owned(log: &Log) -> u64 {
    let scan = log.scan(..).unwrap();
    scan.map(|record| black_box(record.unwrap()).len())
        .filter(|len| *len > 0)
        .count() as u64
}

/// Records by chance; gives the time of each.
fn gets(log: &Log, count: u64) -> Vec<Duration> {
    let mut state = 1u64;
    let mut get = |_| {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        let seq = (state >> 20) % count;
        let start = Instant::now();
        black_box(log.get(seq).unwrap().unwrap());
        start.elapsed()
    };
    (0..GETS).map(&mut get).collect()
}

/// Bytes by chance that verify nothing: what a `get` cannot do without.
fn bare_gets(maps: &[Mmap], len: usize) -> u64 {
    let mut state = 1u64;
    for _ in 0..GETS {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        let chance = (state >> 20) as usize;
        let map = &maps[chance % maps.len()];
        let at = (chance / maps.len()) % (map.len() - len);
        black_box(crc32c::crc32c(&map[at..at + len]));
    }
    GETS
}

fn median<T: Ord + Copy>(values: &mut [T]) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

fn main() {
    let mib = std::env::var("CAIRN_READ_MIB").map_or(1024, |mib| mib.parse().unwrap());
    let dir = tempfile::tempdir_in(std::env::current_dir().unwrap().join("target")).unwrap();
    for payload_bytes in [100, 1024, 16 * 1024] {
        let count = mib * 1024 * 1024 / payload_bytes as u64;
        let path = dir.path().join(payload_bytes.to_string());
        let log = fill(&path, payload_bytes, count);
        let maps = map(&path);
        let walks: [(&str, &dyn Fn() -> u64); 4] = [
            ("bare, checksums", &|| bare(&maps, true)),
            ("bare, none", &|| bare(&maps, false)),
            ("scan, lent", &|| lent(&log)),
            ("scan, owned", &|| owned(&log)),
        ];
        let mut times = vec![Vec::new(); walks.len()];
        let (mut got, mut got_all, mut got_bare) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            for (times, (_, walk)) in times.iter_mut().zip(&walks) {
                let start = Instant::now();
                assert_eq!(walk(), count);
                times.push(start.elapsed());
            }
            let start = Instant::now();
            got.extend(gets(&log, count));
            got_all.push(start.elapsed());
            let start = Instant::now();
            bare_gets(&maps, payload_bytes + 4);
            got_bare.push(start.elapsed());
        }
        let bare = median(&mut times[0]);
        for (times, (name, _)) in times.iter_mut().zip(&walks) {
            let time = median(times);
            let rate = count as f64 / time.as_secs_f64() / 1e6;
            let ratio = bare.as_secs_f64() / time.as_secs_f64();
            println!("{payload_bytes:>6} B {name:<16} {rate:>7.2} M/s, ratio {ratio:.2}");
        }
        let all = median(&mut got_all).as_secs_f64();
        let (rate, ratio) = (
            GETS as f64 / all / 1e6,
            median(&mut got_bare).as_secs_f64() / all,
        );
        let time = median(&mut got);
        println!(
            "{payload_bytes:>6} B get by chance    {rate:>7.2} M/s, median {time:?}, clock included; \
             ratio {ratio:.2} to a checksum of so many bytes by chance"
        );
        log.close().unwrap();
        std::fs::remove_dir_all(path).unwrap();
    }
}
