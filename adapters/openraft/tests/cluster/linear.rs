//! Is there an order of the calls to one key that explains all that was told? One that keeps what ended before what began
//! afterwards, and in which each get tells what was put last (Wing and Gong, with a memory of the states that were tried).

use crate::clients::{Op, Outcome};
use std::{
    collections::{BTreeSet, HashSet},
    time::Instant,
};

/// No two puts give the same value.
pub fn is_linear(history: &[Op]) -> bool {
    let told: BTreeSet<&str> = history
        .iter()
        .filter(|op| op.outcome == Outcome::Got)
        .filter_map(|op| op.value.as_deref())
        .collect();
    // A put of which nobody knows, and whose value nobody was told, may as well never have been.
    let matters = |op: &&Op| {
        op.outcome != Outcome::Unknown
            || op
                .value
                .as_deref()
                .is_some_and(|value| told.contains(value))
    };
    let mut ops: Vec<&Op> = history.iter().filter(matters).collect();
    ops.sort_by_key(|op| op.begun);
    let mut tried = HashSet::new();
    // What is in order so far, as a set, and the value then.
    let mut open = vec![(vec![0u64; ops.len().div_ceil(64)], None::<&str>)];
    while let Some((placed, value)) = open.pop() {
        let is_placed = |at: usize| placed[at / 64] & 1 << (at % 64) != 0;
        let left = || (0..ops.len()).filter(|at| !is_placed(*at));
        // The next in order began before any that is left has ended.
        let ends = left().filter_map(|at| end(ops[at]));
        let Some(limit) = ends.min() else {
            return true; // All that ended are in order.
        };
        for at in left().take_while(|at| ops[*at].begun <= limit) {
            let op = ops[at];
            if op.outcome == Outcome::Got && op.value.as_deref() != value {
                continue;
            }
            let mut placed = placed.clone();
            placed[at / 64] |= 1 << (at % 64);
            let next = (placed, op.value.as_deref());
            if tried.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    false
}

/// When it had happened for sure; `None` if it may happen later still.
fn end(op: &Op) -> Option<Instant> {
    (op.outcome != Outcome::Unknown).then_some(op.ended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Calls as `(from, to, outcome, value)`.
    fn linear(calls: &[(u64, u64, Outcome, &str)]) -> bool {
        let zero = Instant::now();
        let at = |second| zero + Duration::from_secs(second);
        let op = |(from, to, outcome, value): &(u64, u64, Outcome, &str)| Op {
            begun: at(*from),
            ended: at(*to),
            outcome: *outcome,
            value: (!value.is_empty()).then(|| (*value).to_owned()),
        };
        is_linear(&calls.iter().map(op).collect::<Vec<_>>())
    }

    #[test]
    fn does_the_checker_tell_true_histories_from_others() {
        use Outcome::{Got, Put, Unknown};
        assert!(linear(&[
            (0, 1, Got, ""),
            (2, 3, Put, "a"),
            (4, 5, Got, "a")
        ]));
        assert!(!linear(&[(0, 1, Put, "a"), (2, 3, Got, "")]), "a lost put");
        assert!(
            !linear(&[(0, 1, Put, "a"), (2, 3, Put, "b"), (4, 5, Got, "a")]),
            "an old value"
        );
        assert!(
            linear(&[(0, 9, Put, "a"), (1, 8, Put, "b"), (10, 11, Got, "a")]),
            "beside each other"
        );
        let twice = [
            (0, 9, Put, "a"),
            (1, 8, Put, "b"),
            (10, 11, Got, "a"),
            (12, 13, Got, "b"),
        ];
        assert!(!linear(&twice), "first one, then the other");
        assert!(
            linear(&[(0, 1, Unknown, "a"), (2, 3, Got, ""), (4, 5, Got, "a")]),
            "done late"
        );
        assert!(
            !linear(&[(0, 1, Unknown, "a"), (2, 3, Got, "a"), (4, 5, Got, "")]),
            "undone"
        );
        assert!(!linear(&[(0, 1, Got, "a")]), "out of nowhere");
        assert!(
            !linear(&[(0, 1, Got, "a"), (2, 3, Put, "a")]),
            "before it was put"
        );
    }
}
