//! What is measured of text that is packed.

use super::{Case, Plan, Table, filled, spec};
use crate::{
    child::{Job, Spec},
    corpus::Text,
    engine::Kind,
};

/// Bytes of a record, about.
const PIECE: usize = 100;
const TEXTS: [(&str, Text); 3] = [
    ("W16-packages", Text::Packages),
    ("W16-json", Text::Json),
    ("W16-server", Text::Server),
];
const CODEC_ROUNDS: usize = 3;

impl Plan {
    pub fn packing(&self) -> Vec<Table> {
        let spec_of = |name: &str, text| Spec {
            payload_bytes: PIECE,
            bytes_max: self.effort.packed_bytes,
            text: Some(text),
            ..spec(name)
        };
        let read = |(workload, text)| {
            let case = |name| {
                let spec = spec_of(name, text);
                let job = Job::ReadText;
                filled(spec.clone(), Job::FillText, Spec { job, ..spec })
            };
            let cases = self.packers.iter().map(|it| case(it.name)).collect();
            self.table(workload, PIECE, 1, cases)
        };
        let mut tables: Vec<Table> = TEXTS.map(read).into_iter().collect();
        let ours = self.packers.iter().filter(|it| it.kind == Kind::Variant);
        let pack = |name| {
            let spec = spec_of(name, Text::Packages);
            super::case(Spec {
                job: Job::Pack,
                ..spec
            })
        };
        let cases: Vec<Case> = ours.map(|it| pack(it.name)).collect();
        tables.push(Table {
            rounds: CODEC_ROUNDS,
            ..self.table("W16-codec", PIECE, 1, cases)
        });
        tables
    }
}
