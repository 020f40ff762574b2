//! Appends that name themselves, cursors, and output that moves them: power cuts at every operation,
//! again inside the recovery from each, and every fault at every call.

use crate::{
    app::{
        Act, App, Back, Bill, Close, Facts, Kill, Maintain, Open, PUT, Put, Read, Rewind, Rotate,
    },
    app::{Again, Sync, Trim},
    history::options,
};
use cairnlog::{
    Durability, ErrorKind, Options,
    vfs::sim::{Choice, Errno, Fault, FaultRule, OpKind, Outcome, SimFs, SyncFailure, TraceEvent},
};
use std::path::Path;

/// States of one crash point, of one inside a recovery, and how many of the former are followed there.
const STATES: u64 = 100;
const NESTED_STATES: u64 = 4;
const NESTED_EVERY: u64 = 23;

const WRITTEN: Act = Put(Durability::Written);
const BUFFERED: Act = Put(Durability::Buffered);

fn histories() -> Vec<(&'static str, Vec<Act>)> {
    vec![
        ("named appends over rotations", {
            let mut acts = vec![Open];
            for _ in 0..3 {
                acts.extend([PUT, WRITTEN, PUT, Again(1), Maintain]);
            }
            acts
        }),
        (
            "closed, killed, gone on with",
            vec![
                Open,
                PUT,
                PUT,
                Close,
                Open,
                PUT,
                WRITTEN,
                Kill,
                Open,
                Again(2),
                PUT,
                PUT,
                Rotate,
                PUT,
            ],
        ),
        (
            "buffered and synced",
            vec![
                Open,
                BUFFERED,
                BUFFERED,
                Again(0),
                WRITTEN,
                BUFFERED,
                Sync,
                BUFFERED,
                PUT,
                Maintain,
            ],
        ),
        (
            "rewound",
            vec![
                Open,
                PUT,
                PUT,
                PUT,
                PUT,
                PUT,
                Maintain,
                Rewind(2),
                PUT,
                Rewind(3),
                PUT,
                Maintain,
                PUT,
            ],
        ),
        (
            "a reader's place",
            vec![
                Open,
                PUT,
                PUT,
                PUT,
                Read,
                Read,
                Back(1),
                Read,
                PUT,
                Read,
                Read,
                Close,
                Open,
                Read,
            ],
        ),
        (
            "bills",
            vec![
                Open, PUT, PUT, Bill, Bill, PUT, Bill, Maintain, Bill, PUT, Bill, Bill,
            ],
        ),
        (
            "bills sealed and trimmed away",
            vec![
                Open, PUT, Bill, PUT, Bill, Rotate, PUT, Bill, Rotate, Read, Read, Read, Read,
                Trim, PUT, Bill, Kill, Open, Bill, PUT, Bill,
            ],
        ),
    ]
}

fn after(disk: &SimFs, options: &Options, facts: &Facts) -> App {
    let mut app = App::after(disk.clone(), options, facts.clone());
    app.check();
    app
}

/// Goes on, and loses the power with everything that is not durable.
fn goes_on(mut app: App) {
    app.act(&[PUT, Bill, Read, Again(0)]);
    assert!(app.errors.is_empty(), "{:?}", app.errors);
    let lost = app.disk.crash_at(u64::MAX).state(&Choice::lost());
    app.disk.power_cut();
    after(&lost, &app.options, &app.facts);
}

#[test]
fn does_every_crash_leave_each_append_once_and_each_cursor_where_it_was_told() {
    let (mut states, mut nested) = (0, 0);
    for (name, acts) in histories() {
        let options = options(512);
        let mut app = App::new(SimFs::new(1), &options);
        app.act(&acts);
        assert!(app.errors.is_empty(), "{name}: {:?}", app.errors);
        for op in app.disk.first_op()..=app.disk.op_count() {
            let cut = app.disk.crash_at(op);
            for (index, (choice, disk)) in (0..).zip(cut.all(STATES)) {
                states += 1;
                let text = || format!("{name}, {}\n{}", at(&app.disk, op), cut.describe(&choice));
                let _context = crate::Context::new(text);
                let again = after(&disk.snapshot(), &options, app.facts_at(op));
                if (op + index) % NESTED_EVERY == 0 {
                    nested += in_recovery(&disk, &options, app.facts_at(op));
                }
                if index % 3 == 0 {
                    goes_on(again);
                }
            }
        }
    }
    println!("{states} + {nested} states");
    assert!(states > 3_000 && nested > 1_000, "{states} + {nested}");
}

/// Crashes at each operation of the recovery itself.
fn in_recovery(disk: &SimFs, options: &Options, facts: &Facts) -> u64 {
    let mut app = App::after(disk.snapshot(), options, facts.clone());
    app.act(&[Open]);
    let mut count = 0;
    for op in 0..=app.disk.op_count() {
        let cut = app.disk.crash_at(op);
        for (choice, disk) in cut.all(NESTED_STATES) {
            count += 1;
            let text = || {
                format!(
                    "in recovery, {}\n{}",
                    at(&app.disk, op),
                    cut.describe(&choice)
                )
            };
            let _context = crate::Context::new(text);
            after(&disk, options, facts);
        }
    }
    count
}

fn at(disk: &SimFs, op: u64) -> String {
    let trace = disk.trace();
    let at = trace.iter().find(|event| event.op == Some(op));
    format!(
        "op {op}: {}",
        at.map_or("end".to_owned(), ToString::to_string)
    )
}

const FAULTS: [(Fault, bool); 8] = [
    (Fault::Error(Errno::Eio), false),
    (Fault::Error(Errno::Eio), true),
    (Fault::Error(Errno::Enospc), false),
    (Fault::Error(Errno::Enospc), true),
    (Fault::Short(3), false),
    (
        Fault::Torn {
            bytes: 50,
            errno: Errno::Enospc,
        },
        false,
    ),
    (Fault::Sync(Errno::Eio, SyncFailure::CacheKeepsNew), false),
    (Fault::Sync(Errno::Eio, SyncFailure::CacheShowsOld), false),
];

/// Whether the sync failed that makes a directory durable which the system then calls clean: nobody
/// can make up for it, and the call told its error.
fn directory_is_lost(trace: &[TraceEvent]) -> bool {
    let failed = |event: &TraceEvent, path: &str| {
        let failed = matches!(event.outcome, Outcome::Failed(_));
        event.kind == OpKind::SyncDir && failed && event.path == Path::new(path)
    };
    let created = |event: &&TraceEvent| {
        event.kind == OpKind::CreateDir && event.path == Path::new("/log/cursors")
    };
    let cursors = trace.iter().position(|event| created(&event));
    let behind = cursors.map_or(&trace[..0], |created| &trace[created..]);
    let first = behind.iter().find(|event| event.kind == OpKind::SyncDir);
    first.is_some_and(|event| failed(event, "/log")) || trace.iter().any(|event| failed(event, "/"))
}

#[test]
fn does_every_fault_at_every_call_leave_what_was_told() {
    let mut met = 0;
    for (name, acts) in histories() {
        let options = options(512);
        // The last kill parts what is done without faults from what they are for.
        let kill = acts.iter().rposition(|act| matches!(act, Kill));
        let (before, rest) = acts.split_at(kill.map_or(0, |at| at + 1));
        let begin = || {
            let mut app = App::new(SimFs::new(1), &options);
            app.act(before);
            app
        };
        let mut sound = begin();
        let first = sound.disk.call_count();
        sound.act(rest);
        for call in 0..sound.disk.call_count() - first {
            for (fault, for_ever) in FAULTS {
                let mut app = begin();
                let from = app.disk.trace().len();
                let rule = FaultRule::nth_call(call, fault);
                app.disk.fail(if for_ever { rule.for_ever() } else { rule });
                let disk = app.disk.clone();
                let text = || {
                    let trace = disk.trace();
                    let at = trace.get(from + call as usize);
                    let at = at.map_or_else(String::new, ToString::to_string);
                    format!("{name}, call {call}, {fault:?}, for ever: {for_ever}: {at}")
                };
                let _context = crate::Context::new(text);
                app.act(rest);
                if disk.fault_count() > 0 && !directory_is_lost(&disk.trace()[from..]) {
                    met += 1;
                    check_after(app);
                }
            }
        }
    }
    println!("{met} faults met");
    assert!(met > 3_000, "{met} faults met");
}

fn check_after(app: App) {
    for (act, error) in &app.errors {
        let honest = !matches!(
            error.kind(),
            ErrorKind::Damaged | ErrorKind::Unsupported | ErrorKind::Duplicate | ErrorKind::Fenced
        );
        assert!(honest, "{act:?}: {error}");
    }
    let cut = app.disk.crash_at(u64::MAX);
    let extremes = [
        Choice::lost(),
        Choice::kept(cut.effect_count()),
        cut.choose(1),
    ];
    for choice in extremes {
        let _context = crate::Context::new(|| format!("power cut\n{}", cut.describe(&choice)));
        after(&cut.state(&choice), &app.options, &app.facts);
    }
    app.disk.clear_faults();
    let killed = after(&app.disk.kill(), &app.options, &app.facts);
    let _context = crate::Context::new(|| "after a kill".to_owned());
    goes_on(killed);
}
