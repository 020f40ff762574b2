//! Is everything there that was acknowledged, and does every read tell the truth, while leaders are killed?
//!
//! Three nodes of the example `kv`, each a process, and clients that put and get meanwhile. The leader is killed with
//! SIGKILL, and started again, five times or `CAIRN_RAFT_KILLS`. Half of the puts give a new key a value, and every one that was
//! acknowledged has to be there at the end. The others, and gets, go to a few keys that all clients share: each of those
//! has to look like one register (`linear`).

mod clients;
mod linear;
mod nodes;
#[path = "../../examples/kv/wire.rs"]
mod wire;

use clients::{Outcome, Shared, client};
use linear::is_linear;
use nodes::Nodes;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::time::sleep;

const CLIENTS: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_everything_acknowledged_there_however_often_the_leader_is_killed() {
    let kills = std::env::var("CAIRN_RAFT_KILLS").ok();
    let kills: u64 = kills.map_or(5, |text| text.parse().unwrap());
    let mut nodes = Nodes::start();
    let shared = Arc::new(Shared::new(nodes.addresses()));
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|id| tokio::spawn(client(id, shared.clone())))
        .collect();
    for kill in 0..kills {
        // Something was acknowledged since the last one: there is a leader, and it leads.
        let before = shared.done.load(Ordering::Relaxed);
        let begun = Instant::now();
        while shared.done.load(Ordering::Relaxed) < before + 50 {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "no progress after {kill} kills"
            );
            sleep(Duration::from_millis(10)).await;
        }
        let leader = shared.leader().await.expect("a leader");
        nodes.kill(leader);
        // By turns: it is back before anybody misses it, and leads on; or another is elected.
        let down = [kill * 37 % 200, 1000 + kill * 53 % 500][kill as usize % 2];
        sleep(Duration::from_millis(down)).await;
        nodes.restart(leader);
    }
    shared.stop.store(true, Ordering::Relaxed);
    let mut history = Vec::new();
    for task in tasks {
        history.extend(task.await.unwrap());
    }
    let mut by_key: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    assert!(history.len() as u64 >= 50 * kills);
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
        "{kills} kills, {} keys, {acknowledged} puts acknowledged, {unknown} unknown",
        by_key.len()
    );
    for (key, ops) in by_key {
        assert!(is_linear(&ops), "{key}: {ops:#?}");
    }
    nodes.stop();
}
