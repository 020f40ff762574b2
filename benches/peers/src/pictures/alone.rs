//! Pictures of what is measured of Cairn alone.

use super::{Picture, how_many, size};
use crate::{
    book::Book,
    chart::bars::{self, Bar, Panel, Scale},
    engine::Kind,
    plan::Work,
};

/// Numbers of Cairn: title, subtitle, the workload, and each by what it says and by what colour it has.
pub struct Alone {
    title: &'static str,
    subtitle: &'static str,
    workload: &'static str,
    numbers: &'static [(&'static str, Kind, &'static str)],
}

pub const COMPACTED: Alone = Alone {
    title: "Compacting as fast as it can",
    subtitle: "Live bytes per second, 1 GiB of which half is dead; grey: a plain copy of them, synced",
    workload: "W10",
    numbers: &[
        ("cairn", Kind::Cairn, "rate"),
        ("plain copy", Kind::Raw, "copy_rate"),
    ],
};
pub const ACKNOWLEDGED: Alone = Alone {
    title: "Acknowledgements alone",
    subtitle: "Per second; grey: durable appends of 100 B by as many threads, in turns",
    workload: "W14",
    numbers: &[
        ("acknowledged", Kind::Cairn, "rate"),
        ("appended", Kind::Raw, "append_rate"),
    ],
};
pub const PARALLEL: Alone = Alone {
    title: "Scanning and verifying by two threads",
    subtitle: "Bytes of payload per second, the log in memory; grey: by one thread",
    workload: "W15",
    numbers: &[
        ("scan, two", Kind::Cairn, "scan_many_rate"),
        ("scan, one", Kind::Raw, "scan_rate"),
        ("verify, two", Kind::Variant, "verify_many_rate"),
        ("verify, one", Kind::Raw, "verify_rate"),
    ],
};

pub fn of(book: &Book, file: &str, what: &Alone) -> Vec<Picture> {
    let panel = |work: &Work| {
        let bar = |(label, kind, name): &(&str, Kind, &str)| {
            Some(Bar {
                engine: (*label).to_owned(),
                kind: *kind,
                honest: true,
                value: book.get(work, "cairn", name)?,
            })
        };
        Panel {
            title: format!("{}{}", size(work.payload_bytes), how_many(work)),
            bars: what.numbers.iter().filter_map(bar).collect(),
        }
    };
    let mut works = book.works(what.workload);
    works.sort_by_key(|work| work.threads);
    let mut panels: Vec<Panel> = works.into_iter().map(panel).collect();
    panels.retain(|panel| !panel.bars.is_empty());
    if panels.is_empty() {
        return Vec::new();
    }
    vec![Picture {
        file: format!("{file}.svg"),
        alt: what.title.to_owned(),
        svg: bars::draw(what.title, what.subtitle, Scale::Linear, &panels),
    }]
}
