//! Standard streams: closed, full, the wrong way round, or a pipe whose other end has gone away.

use super::{
    verbs::VERBS,
    world::{Ended, World, command, holds, place, template},
};
use std::process::Stdio;

/// All was acknowledged and printed nowhere; a full disk under the acknowledgements was called a reader
/// that went away; a note that could not be written was a panic before anything was done.
#[test]
fn does_every_verb_bear_streams_that_are_closed_or_full() {
    for (name, shell, places) in [
        (
            "no input",
            r#"exec "$@" <&-"#,
            &["standard input", "log"][..],
        ),
        (
            "input the wrong way",
            r#"exec "$@" 0>out.txt"#,
            &["standard input"],
        ),
        ("no output", r#"exec "$@" >&-"#, &["standard output"]),
        (
            "output the wrong way",
            r#"exec "$@" 1<input.txt"#,
            &["standard output"],
        ),
        (
            "a full output",
            r#"exec "$@" >/dev/full"#,
            &["standard output"],
        ),
        // Nobody is there to be told.
        ("no errors", r#"exec "$@" 2>&-"#, &[]),
        ("full errors", r#"exec "$@" 2>/dev/full"#, &[]),
        ("nothing at all", r#"exec "$@" <&- >&- 2>&-"#, &[]),
        ("all full", r#"exec "$@" >/dev/full 2>/dev/full"#, &[]),
    ] {
        World {
            name,
            shell,
            places,
            then: &|_, verb, Ended { status, err, .. }| {
                let code = status.code().expect("a code");
                let output = name.contains("output") || name.contains("all");
                // A verb that prints nothing when all is well does not need a stream for it.
                let silent = verb.line.contains("--quiet");
                let reads_it = verb.input.is_some();
                match name {
                    _ if output && !silent => assert_eq!(code, 1, "{err}"),
                    "no input" | "input the wrong way" if reads_it => assert_eq!(code, 1, "{err}"),
                    "nothing at all" => assert_eq!(code, 1),
                    _ => assert_eq!(code, 0, "{err}"),
                }
            },
            ..World::default()
        }
        .try_all(VERBS);
    }
}

/// Whoever reads output may go away at any time.
#[test]
fn does_every_verb_bear_a_reader_that_went_away() {
    let mut faults = Vec::new();
    let template = template();
    for verb in VERBS {
        let scratch = place(&template);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = command(&scratch, r#"exec "$@""#, verb);
        command.stdin(Stdio::null()).stdout(writer);
        let output = command.output().expect("it ran");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        let note = |line: &&str| line.contains("begins one at seq 0");
        let err: String = err.lines().filter(|line| !note(line)).collect();
        let acknowledges = ["--acks", "replay"]
            .iter()
            .any(|word| verb.line.contains(word));
        // Nothing was read, so there may have been nothing to acknowledge.
        let codes: &[i32] = if acknowledges { &[0, 141] } else { &[0] };
        if !output
            .status
            .code()
            .is_some_and(|code| codes.contains(&code))
            || !err.is_empty()
        {
            faults.push(format!("{}: {}: {err}", verb.line, output.status));
        }
        holds(&scratch, verb, "");
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
