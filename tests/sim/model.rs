//! Files: what a sync promises, and what is lost without one.

use crate::{now, outcomes, p, put, put_durably, read, set};
use cairnlog::vfs::{
    Access, Vfs,
    sim::{Choice, EffectKind, Fate, SimFs, Tear},
};
use std::io::ErrorKind;

#[test]
fn synced_file_with_synced_name_is_in_every_state() {
    let disk = SimFs::new(1);
    put_durably(&disk, "/a", b"safe");
    assert_eq!(now(&disk).effect_count(), 0);
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[Some(b"safe")]));
}

#[test]
fn synced_file_without_synced_name_may_be_gone() {
    let disk = SimFs::new(1);
    put(&disk, "/a", b"safe").sync().unwrap();
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[None, Some(b"safe")]));
}

#[test]
fn synced_name_of_unsynced_file_is_empty_short_zero_or_whole() {
    let disk = SimFs::new(1);
    put(&disk, "/a", b"ab");
    disk.sync_dir(p("/")).unwrap();
    let found = outcomes(&now(&disk), "/a");
    for state in [&b""[..], b"a", b"a\0", b"\0\0", b"ab"] {
        assert!(found.contains(&Some(state.to_vec())), "{state:?}");
    }
    assert!(!found.contains(&None));
}

#[test]
fn size_and_bytes_are_lost_independently() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"old");
    file.write_at(b"+new", 3).unwrap();
    let cut = now(&disk);
    let kinds: Vec<_> = cut.effects().iter().map(|effect| effect.kind).collect();
    assert_eq!(kinds, [EffectKind::Write, EffectKind::Size]);
    let only = |i| read(&cut.state(&Choice::lost().with(i, Fate::Kept)), "/a").unwrap();
    assert_eq!(only(0), b"old", "bytes beyond the size are cut off");
    assert_eq!(only(1), b"old\0\0\0\0", "a size without bytes is zeros");
}

#[test]
fn later_write_may_survive_an_earlier_one() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"....");
    file.write_at(b"11", 0).unwrap();
    file.write_at(b"22", 2).unwrap();
    file.write_at(b"3", 0).unwrap();
    let found = outcomes(&now(&disk), "/a");
    for state in [b"....", b"..22", b"11..", b"3...", b"3122"] {
        assert!(found.contains(&Some(state.to_vec())), "{state:?}");
    }
}

#[test]
fn cut_may_be_lost_and_may_come_back_under_a_new_size() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"abcdef");
    file.set_len(2).unwrap();
    assert_eq!(
        outcomes(&now(&disk), "/a"),
        set(&[Some(b"abcdef"), Some(b"ab")])
    );
    file.set_len(4).unwrap();
    assert_eq!(read(&disk, "/a").unwrap(), b"ab\0\0", "growing shows zeros");
    let cut = now(&disk);
    assert_eq!(read(&cut.state(&Choice::kept(2)), "/a").unwrap(), b"ab\0\0");
    let found = outcomes(&cut, "/a");
    assert!(
        found.contains(&Some(b"abcd".to_vec())),
        "the cut was lost: {found:?}"
    );
    file.sync().unwrap();
    assert_eq!(outcomes(&now(&disk), "/a"), set(&[Some(b"ab\0\0")]));
}

#[test]
fn sync_makes_earlier_but_not_later_effects_durable() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"1");
    file.write_at(b"2", 1).unwrap();
    file.sync().unwrap();
    file.write_at(b"3", 2).unwrap();
    for (choice, after) in now(&disk).all(1000) {
        let bytes = read(&after, "/a").unwrap();
        assert!(bytes.starts_with(b"12"), "{choice}: {bytes:?}");
    }
}

#[test]
fn tears_stay_inside_the_write() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", &[b'o'; 4096]);
    file.write_at(&[b'n'; 1500], 1000).unwrap();
    let cut = now(&disk);
    let torn = |tear| read(&cut.state(&Choice::lost().with(0, Fate::Torn(tear))), "/a").unwrap();
    for seed in 0..200 {
        for bytes in [
            torn(Tear::Sectors(seed)),
            torn(Tear::Mixed(seed)),
            torn(Tear::Garbage(seed)),
            read(&cut.random(seed), "/a").unwrap(),
        ] {
            assert_eq!(bytes.len(), 4096);
            assert!(
                bytes[..1000]
                    .iter()
                    .chain(&bytes[2500..])
                    .all(|b| *b == b'o')
            );
        }
    }
    assert_eq!(torn(Tear::Prefix(7))[998..1009], *b"oonnnnnnnoo");
    assert!(torn(Tear::Zeroed)[1000..2500].iter().all(|b| *b == 0));
    assert_ne!(torn(Tear::Garbage(1)), torn(Tear::Garbage(2)));
}

#[test]
fn sectors_of_one_write_are_kept_independently() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", &[0; 1536]);
    file.write_at(&[1; 1536], 0).unwrap();
    let cut = now(&disk);
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let after = cut.state(&Choice::lost().with(0, Fate::Torn(Tear::Sectors(seed))));
        let bytes = read(&after, "/a").unwrap();
        let sectors: Vec<_> = bytes.chunks(512).map(|sector| sector[0]).collect();
        assert!(
            bytes
                .chunks(512)
                .all(|sector| sector.iter().all(|b| *b == sector[0]))
        );
        seen.insert(sectors);
    }
    assert_eq!(seen.len(), 8, "all subsets of three sectors");
}

#[test]
fn growing_size_may_be_torn() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"");
    file.set_len(100).unwrap();
    let after = now(&disk).state(&Choice::lost().with(0, Fate::Torn(Tear::Prefix(30))));
    assert_eq!(read(&after, "/a").unwrap(), [0; 30]);
}

#[test]
fn operation_in_flight_is_uncertain_and_earlier_ones_are_done() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"0");
    let (write, sync) = (disk.op_count(), disk.op_count() + 1);
    file.write_at(b"1", 0).unwrap();
    file.sync().unwrap();
    disk.remove(p("/a")).unwrap();
    let both = [Some(&b"0"[..]), Some(b"1")];
    assert!(outcomes(&disk.crash_at(write), "/a").is_superset(&set(&both)));
    assert!(outcomes(&disk.crash_at(sync), "/a").is_superset(&set(&both)));
    assert_eq!(
        outcomes(&disk.crash_at(sync + 1), "/a"),
        set(&[None, Some(b"1")])
    );
    assert_eq!(disk.crash_at(sync + 99).op(), disk.op_count());
}

#[test]
fn every_operation_of_a_long_run_replays_to_what_it_saw() {
    let disk = SimFs::new(1);
    let file = put_durably(&disk, "/a", b"");
    let mut seen = Vec::new();
    for i in 0..200_u64 {
        seen.push((disk.op_count(), read(&disk, "/a").unwrap()));
        file.write_at(&[1 + (i % 250) as u8; 100], i * 90).unwrap();
        if i % 7 == 0 {
            file.sync().unwrap();
        }
    }
    for (op, bytes) in seen {
        let cut = disk.crash_at(op - 1);
        let after = cut.state(&Choice::kept(cut.effect_count()));
        assert_eq!(read(&after, "/a").unwrap(), bytes, "before operation {op}");
    }
}

#[test]
fn sparse_and_far_offsets_read_back() {
    let disk = SimFs::new(1);
    let file = put(&disk, "/a", b"x");
    let far = 1_u64 << 40;
    file.write_at(b"far", far + 4095).unwrap();
    assert_eq!(file.len().unwrap(), far + 4098);
    let mut buf = [9; 8];
    assert_eq!(file.read_at(&mut buf, far + 4093).unwrap(), 5);
    assert_eq!(&buf[..5], b"\0\0far");
    assert_eq!(file.read_at(&mut buf, far * 2).unwrap(), 0);
    file.set_len(far + 4096).unwrap();
    file.set_len(far + 5000).unwrap();
    assert_eq!(file.read_at(&mut buf, far + 4094).unwrap(), 8);
    assert_eq!(&buf, b"\0f\0\0\0\0\0\0");
    let error = file.write_at(b"x", u64::MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
}

#[test]
fn read_handle_does_not_write() {
    let disk = SimFs::new(1);
    disk.write_file(p("/a"), b"x");
    let file = disk.open(p("/a"), Access::Read).unwrap();
    assert!(file.write_at(b"y", 0).is_err());
    assert!(file.set_len(0).is_err());
    assert_eq!(read(&disk, "/a").unwrap(), b"x");
    assert!(file.map(0, 1).unwrap().is_none());
}
