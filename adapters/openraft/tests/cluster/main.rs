//! Is everything there that was acknowledged, and does every read tell the truth, while leaders are killed and nodes cut off?
//!
//! Three nodes of the example `kv`, each a process, and clients that put and get meanwhile. The leader is killed with
//! SIGKILL, and started again, five times or `CAIRN_RAFT_KILLS`. Half of the puts give a new key a value, and every one that was
//! acknowledged has to be there at the end. The others, and gets, go to a few keys that all clients share: each of those
//! has to look like one register (`linear`).

mod clients;
mod linear;
mod networks;
mod nodes;
#[path = "../../examples/kv/wire.rs"]
mod wire;

use clients::{Outcome, Shared, client};
use linear::is_linear;
use networks::Networks;
use nodes::Nodes;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::time::sleep;

const CLIENTS: u64 = 4;

/// How often, as a variable says or else five times.
fn times(variable: &str) -> u64 {
    std::env::var(variable).map_or(5, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_everything_acknowledged_there_however_often_the_leader_is_killed() {
    let kill = async |nodes: &mut Nodes, leader, turn| {
        nodes.kill(leader);
        // By turns: it is back before anybody misses it, and leads on where it may; or another is elected.
        let down = [turn * 37 % 200, 1000 + turn * 53 % 500][turn as usize % 2];
        sleep(Duration::from_millis(down)).await;
        nodes.restart(leader);
    };
    check(Nodes::on_loopback(), times("CAIRN_RAFT_KILLS"), kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "network namespaces, which only root can make"]
async fn is_everything_acknowledged_there_however_often_nodes_are_cut_off() {
    let cut_off = async |nodes: &mut Nodes, leader, turn| {
        // By turns: the leader, one that follows, all of them from each other.
        let whom = [vec![leader], vec![leader % 3 + 1], vec![1, 2, 3]];
        let whom = &whom[turn as usize % 3];
        whom.iter().for_each(|id| nodes.cut_off(*id, true));
        sleep(Duration::from_millis(1000 + turn * 397 % 2000)).await;
        whom.iter().for_each(|id| nodes.cut_off(*id, false));
    };
    let nodes = Nodes::apart(Networks::make());
    check(nodes, times("CAIRN_RAFT_PARTITIONS"), cut_off).await;
}

/// Has clients put and get while something befalls the nodes so often, which is told who leads and whose turn it is, and
/// checks what they were told.
async fn check(mut nodes: Nodes, turns: u64, befall: impl AsyncFn(&mut Nodes, u64, u64)) {
    let shared = Arc::new(Shared::new(nodes.addresses()));
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|id| tokio::spawn(client(id, shared.clone())))
        .collect();
    for turn in 0..turns {
        // Something was acknowledged since the last one: there is a leader, and it leads.
        let before = shared.done.load(Ordering::Relaxed);
        let begun = Instant::now();
        while shared.done.load(Ordering::Relaxed) < before + 50 {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "no progress after {turn} turns"
            );
            sleep(Duration::from_millis(10)).await;
        }
        let leader = shared.leader().await.expect("a leader");
        befall(&mut nodes, leader, turn).await;
    }
    shared.stop.store(true, Ordering::Relaxed);
    let mut history = Vec::new();
    for task in tasks {
        history.extend(task.await.unwrap());
    }
    let mut by_key: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    assert!(history.len() as u64 >= 50 * turns);
    let (mut acknowledged, mut unknown) = (0, 0);
    for (key, op) in &history {
        acknowledged += u64::from(op.outcome == Outcome::Put);
        unknown += u64::from(op.outcome == Outcome::Unknown);
        by_key.entry(key).or_default().push(op.clone());
    }
    // What is there at the end was read last.
    for (key, ops) in &mut by_key {
        let last = shared.get_until_told(key).await;
        ops.push(last);
    }
    println!(
        "{turns} turns, {} keys, {acknowledged} puts acknowledged, {unknown} unknown",
        by_key.len()
    );
    for (key, ops) in by_key {
        assert!(is_linear(&ops), "{key}: {ops:#?}");
    }
    nodes.stop();
}
