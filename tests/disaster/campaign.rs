//! Power cuts into many states, of histories by chance, in a wider world: a size and a seed make a campaign.
//!
//! `CAIRN_STATES=1000000 CAIRN_SEED=1 cargo test --release --test disaster campaign -- --nocapture`; without
//! them a slice. A case that fails names its history's number: with `CAIRN_SEED` it comes again.

use crate::{
    crash::{check_shown, recovers, shown_before},
    history::{Run, options, packing, sealed},
    model::step,
    steps::{Append, Consume, Deed, Named, New, Open, Step, Submit},
};
use cairnlog::{Options, vfs::sim::SimFs};
use proptest::{
    collection::vec,
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

/// States of the slice.
const STATES: u64 = 3_000;
/// States at each operation of a history.
const AT_EACH: u64 = 4;

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

/// A history, and the world that it happens in; the same number gives the same.
pub fn history(seed: u64, number: u64) -> (SimFs, Options, Vec<Step>) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let steps = vec(step(), 3..16).new_tree(&mut runner).unwrap().current();
    // Some are so large that a file which comes back keeps old bytes behind the first block.
    let large = number % 6 == 5;
    let segment_bytes = match large {
        true => 12_288,
        false => [512, 640, 1024, 2048][number as usize % 4],
    };
    let steps: Vec<_> = match large {
        true => steps.into_iter().map(larger).collect(),
        false => steps,
    };
    let options = match number % 4 {
        1 => sealed(options(segment_bytes * 2)),
        _ => options(segment_bytes),
    };
    // There is something to be packed in those.
    let options = match large && number % 12 == 5 {
        true => packing(options),
        false => options,
    };
    let options = options
        .publish(number.is_multiple_of(2))
        .direct_writes(number.is_multiple_of(5))
        .buffer_bytes([64, 300, 100_000][number as usize % 3]);
    (SimFs::new(seed ^ number), options, steps)
}

/// The same with values that fill such segments as the others fill theirs.
pub fn larger(mut step: Step) -> Step {
    let grow = |news: &mut Vec<New>| {
        for bytes in news.iter_mut().filter_map(|new| new.value_bytes.as_mut()) {
            *bytes = (*bytes * 12).min(4_000);
        }
    };
    match &mut step {
        Append(_, news) | Named { news, .. } | Consume(_, Deed::Output { news, .. }) => grow(news),
        Submit(_, batches) => batches.iter_mut().for_each(grow),
        _ => {}
    }
    step
}

#[test]
fn campaign_of_power_cuts_recovers_an_exact_prefix() {
    let (wanted, seed) = (number("CAIRN_STATES", STATES), number("CAIRN_SEED", 1));
    let started = std::time::Instant::now();
    let (mut states, mut histories) = (0, 0);
    while states < wanted {
        let (disk, options, steps) = history(seed, histories);
        let nth = histories;
        let _context = crate::Context::new(|| format!("history {nth}: {steps:?}"));
        let mut run = Run::new(disk, &options);
        run.step(&Open);
        run.steps(&steps);
        assert!(run.errors.is_empty(), "{:?}", run.errors);
        for op in 0..=run.disk.op_count() {
            let cut = run.disk.crash_at(op);
            for one in 0..AT_EACH {
                let choice = cut.choose(seed.wrapping_add(one));
                let text = || format!("op {op}\n{}", cut.describe(&choice));
                let _context = crate::Context::new(text);
                let disk = cut.state(&choice);
                let shown = shown_before(&disk, &options);
                check_shown(&shown, &recovers(&disk, &options, run.shadow_at(op)));
                states += 1;
            }
        }
        histories += 1;
    }
    let rate = states as f64 / started.elapsed().as_secs_f64();
    println!("{states} states of {histories} histories, seed {seed}, {rate:.0}/s");
}
