//! A log that was put back from an earlier day, and went on otherwise; and its backup, which is of what was there before. It is
//! refused and stays what it is, or it becomes what the log is now: never something of both.
//!
//! `CAIRN_BACKUPS` says how many histories there are, from `CAIRN_SEED` on.

use super::renewed::{Dice, TO, number, on, settle};
use cairnlog::{
    ErrorKind, Log, Reader, Seq,
    vfs::{Vfs, sim::SimFs},
};
use std::path::Path;

/// One change of a log; what is appended says by whom, and is often as long as what others append.
fn change(log: &Log, dice: &mut Dice, by: char) {
    let (head, next) = (log.head_seq(), log.next_seq());
    match dice.below(9) {
        0..=5 => (0..1 + dice.below(6)).for_each(|_| {
            let pad = [99, 99, 99, 60][dice.below(4) as usize];
            log.append(format!("{by}{:0pad$}", log.next_seq())).unwrap();
        }),
        6 => log.rotate().unwrap(),
        7 => log.trim(head + dice.below(next - head + 1) / 2).unwrap(),
        _ => log
            .rewind(next - dice.below((next - head).min(5) + 1))
            .unwrap(),
    }
    if dice.below(3) > 0 {
        settle(log);
    }
}

/// Opens the log, changes it so many times, and shows what becomes of it.
fn go_on(disk: &SimFs, dice: &mut Dice, by: char, count: u64) -> Log {
    let log = on(disk).open("/log").unwrap();
    (0..count).for_each(|_| change(&log, dice, by));
    log
}

fn shown(reader: &Reader) -> (Seq, Seq, Vec<(Seq, Vec<u8>)>) {
    let records = reader.scan(..).unwrap().map(Result::unwrap);
    let records = records.map(|it| (it.seq(), it.to_vec())).collect();
    (reader.head_seq(), reader.end_seq(), records)
}

fn backed_up(disk: &SimFs) -> (Seq, Seq, Vec<(Seq, Vec<u8>)>) {
    shown(&on(disk).open_reader(TO).unwrap())
}

/// The backup is on a disk that was not put back.
fn carry_over(from: &SimFs, to: &SimFs) {
    to.create_dir(Path::new(TO)).unwrap();
    for entry in from.list(Path::new(TO)).unwrap() {
        let path = Path::new(TO).join(entry.name);
        if let Some(bytes) = from.read_file(&path).filter(|_| entry.is_file) {
            to.write_file(&path, &bytes);
        }
    }
}

#[test]
fn is_a_backup_of_what_was_there_before_refused_or_made_that_of_now() {
    let (count, seed) = (number("CAIRN_BACKUPS", 400), number("CAIRN_SEED", 1));
    let (mut refused, mut made) = (0, 0);
    for seed in seed..seed + count {
        let _context = crate::Context::new(|| format!("CAIRN_SEED={seed}"));
        let mut dice = Dice(seed);
        let disk = SimFs::new(seed);
        let how_long = 1 + dice.below(12);
        go_on(&disk, &mut dice, 'a', how_long).close().unwrap();
        let put_back = disk.snapshot();
        let how_long = 1 + dice.below(8);
        go_on(&disk, &mut dice, 'b', how_long).backup(TO).unwrap();
        let before = backed_up(&disk);
        carry_over(&disk, &put_back);
        let how_long = 1 + dice.below(12);
        let log = go_on(&put_back, &mut dice, 'c', how_long);
        match log.backup(TO) {
            Ok(_) => {
                made += 1;
                assert_eq!(backed_up(&put_back), shown(&log.reader()));
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
                assert_eq!(backed_up(&put_back), before);
            }
        }
    }
    println!("{refused} refused, {made} made");
    assert!(
        refused > count / 10 && made > count / 20,
        "{refused} {made}"
    );
}
