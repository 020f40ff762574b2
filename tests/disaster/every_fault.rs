//! Every error at every call of every small history, once and for ever: a slice, or by `CAIRN_FAULTS` all
//! of it or so many cases, drawn by `CAIRN_FAULTS_SEED`. And what the system loses behind a call's back.

use crate::{
    fault::{SHORT_TIMES, calls, trial},
    history::options,
    steps::{Step, canonical},
};
use cairnlog::{
    Options,
    vfs::{
        Vfs,
        sim::{Errno, Fault, SimFs},
    },
};

/// Who is interrupted for ever tries for ever, by rights: so it ends after as many as these.
const OFTEN: u64 = 50;
/// How many cases an ordinary run takes.
const SLICE: u64 = 6_000;

struct History {
    name: &'static str,
    options: Options,
    steps: Vec<Step>,
    calls: u64,
}

fn histories() -> Vec<History> {
    let both = canonical().into_iter().flat_map(|(name, bytes, steps)| {
        [false, true].map(|direct| (name, options(bytes).direct_writes(direct), steps.clone()))
    });
    let history = |(name, options, steps): (_, Options, Vec<Step>)| History {
        name,
        calls: calls(&steps, &options),
        options,
        steps,
    };
    both.map(history).collect()
}

/// Each with how many times.
fn faults() -> Vec<(Fault, u64)> {
    let each = Errno::ALL.into_iter().flat_map(|errno| {
        let often = match errno {
            Errno::Eintr => OFTEN,
            _ => u64::MAX,
        };
        [1, often].map(|times| (Fault::Error(errno), times))
    });
    let short = [(1, 1), (100, 1), (13, SHORT_TIMES)];
    let short = short.map(|(bytes, times)| (Fault::Short(bytes), times));
    each.chain(short).collect()
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) if text == "all" => u64::MAX,
        Ok(text) => text.parse().expect("a number, or all"),
        Err(_) => default,
    }
}

#[test]
fn does_every_error_at_every_call_leave_what_was_promised() {
    let (histories, faults) = (histories(), faults());
    let cases = histories.iter().flat_map(|history| {
        let faults = &faults;
        let each = (0..history.calls).flat_map(move |call| {
            let fault = move |(fault, times): &(Fault, u64)| (call, *fault, *times);
            faults.iter().map(fault)
        });
        each.map(move |case| (history, case))
    });
    let cases: Vec<_> = cases.collect();
    let total = cases.len() as u64;
    let (wanted, seed) = (
        number("CAIRN_FAULTS", SLICE).min(total),
        number("CAIRN_FAULTS_SEED", 1),
    );
    let dice = SimFs::new(seed);
    let mut met = 0;
    for index in 0..wanted {
        let at = match wanted == total {
            true => index,
            false => dice.random() % total,
        };
        let (history, case) = &cases[at as usize];
        let _context = crate::Context::new(|| {
            let direct = history.options.clone();
            format!("{}, case {at} of {total}, {direct:?}", history.name)
        });
        met += u64::from(trial(
            SimFs::new(1),
            &history.steps,
            &history.options,
            *case,
        ));
    }
    println!("{met} of {wanted} cases met their fault, of {total}");
    assert!(met > wanted / 3, "{met}");
}
