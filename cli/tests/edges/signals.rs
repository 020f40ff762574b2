//! Interrupted by SIGTERM and SIGINT, at any moment.

use super::{
    verbs::{VERBS, Verb},
    world::{command, holds, place, template},
};
use std::{os::unix::process::ExitStatusExt, process::Command, thread, time::Duration};

/// Those that go on until they are interrupted.
const ENDLESS: &[Verb] = &[
    Verb {
        line: "tail log -f",
        ..VERBS[4]
    },
    Verb {
        line: "top log --interval 0.01",
        ..VERBS[4]
    },
    Verb {
        line: "consume log mailer --no-ack -f",
        ..VERBS[4]
    },
];

#[test]
fn does_every_verb_end_by_the_signal_and_leave_the_log_whole() {
    let template = template();
    for (name, number) in [("TERM", 15), ("INT", 2)] {
        for (round, verb) in VERBS.iter().chain(ENDLESS).enumerate() {
            let scratch = place(&template);
            // Who is started in the background ignores what this is about, and so would its children.
            let by_default = format!(r#"exec env --default-signal={name} "$@""#);
            let mut child = command(&scratch, &by_default, verb)
                .spawn()
                .expect("a shell");
            // Those that read wait for their input, which does not come.
            let stdin = child.stdin.take();
            let drain = |pipe: Option<Box<dyn std::io::Read + Send>>| {
                thread::spawn(move || {
                    let mut text = String::new();
                    pipe.expect("a pipe").read_to_string(&mut text).ok();
                    text
                })
            };
            let out = drain(child.stdout.take().map(|pipe| Box::new(pipe) as _));
            let err = drain(child.stderr.take().map(|pipe| Box::new(pipe) as _));
            thread::sleep(Duration::from_millis(2 + (round as u64 * 7) % 25));
            let kill = Command::new("kill")
                .args(["-s", name, &child.id().to_string()])
                .status();
            let sent = kill.expect("kill").success();
            let status = child.wait().expect("it ended");
            drop(stdin);
            let (out, err) = (out.join().expect("read"), err.join().expect("read"));
            let what = format!("{name}: {}: {status}: {err}", verb.line);
            assert!(!err.contains("panicked"), "{what}");
            let by_signal = status.signal() == Some(number) && sent;
            assert!(by_signal || status.code() == Some(0), "{what}");
            let endless = ENDLESS.iter().any(|other| other.line == verb.line);
            assert!(by_signal || !endless, "{what}");
            holds(&scratch, verb, &out);
        }
    }
}
