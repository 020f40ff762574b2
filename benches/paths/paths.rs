//! How long do the hot paths take? `cargo bench -p cairn-paths --bench paths`.

use cairn_paths as work;
use criterion::{BatchSize::LargeInput, Criterion, criterion_group, criterion_main};

fn paths(criterion: &mut Criterion) {
    let (batch, bytes) = (work::encode_batch(), vec![7; 16 * 1024]);
    criterion.bench_function("encode a record", |b| {
        let mut out = Vec::with_capacity(1024);
        b.iter(|| {
            out.clear();
            work::encode_record(&mut out, 1);
        });
    });
    criterion.bench_function("encode a batch", |b| b.iter(work::encode_batch));
    criterion.bench_function("decode a batch", |b| b.iter(|| work::decode(&batch)));
    criterion.bench_function("checksums", |b| b.iter(|| work::checksum(&bytes)));
    criterion.bench_function("push 3000 records", |b| {
        b.iter_batched_ref(work::empty_log, |log| work::push(log), LargeInput);
    });
    let (sealed, unclean) = (work::full_log(true), work::full_log(false));
    criterion.bench_function("scan 3000 records", |b| b.iter(|| work::scan(&sealed)));
    criterion.bench_function("look at 3000 records", |b| {
        b.iter(|| work::recover(&unclean))
    });
}

criterion_group!(benches, paths);
criterion_main!(benches);
