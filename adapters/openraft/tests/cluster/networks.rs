//! A network namespace for each node, all on one bridge, on which the clients are too. Only root can make them.
//!
//! A node that is cut off reaches no other node, and none reaches it; clients still do. So a leader that is none any more
//! is asked, and must not answer.

use std::{path::Path, process::Command};

const BRIDGE: &str = "cairnraft";
const NODES: std::ops::RangeInclusive<u64> = 1..=3;

/// They are there as long as this lives.
pub struct Networks(());

/// Runs `ip` with these words; whether it did.
fn ip(words: &str) -> bool {
    let ran = Command::new("ip").args(words.split(' ')).output();
    ran.is_ok_and(|output| output.status.success())
}

fn must(words: &str) {
    assert!(ip(words), "as root, with iproute2: ip {words}");
}

fn host(id: u64) -> String {
    format!("10.213.7.{id}")
}

impl Networks {
    pub fn make() -> Self {
        remove(); // Of a run that was killed.
        must(&format!("link add {BRIDGE} type bridge"));
        let made = Self(());
        must(&format!("addr add {}/24 dev {BRIDGE}", host(254)));
        must(&format!("link set {BRIDGE} up"));
        for id in NODES {
            let name = format!("{BRIDGE}{id}");
            must(&format!("netns add {name}"));
            must(&format!(
                "link add {name} type veth peer name eth0 netns {name}"
            ));
            must(&format!("link set {name} master {BRIDGE} up"));
            must(&format!("-n {name} addr add {}/24 dev eth0", host(id)));
            must(&format!("-n {name} link set eth0 up"));
        }
        made
    }

    pub fn addresses(&self) -> Vec<String> {
        NODES.map(|id| format!("{}:7001", host(id))).collect()
    }

    /// What runs a program as a node: the arguments are still to be given.
    pub fn command(&self, id: u64, program: &Path) -> Command {
        let mut command = Command::new("ip");
        let name = format!("{BRIDGE}{id}");
        command.args(["netns", "exec", &name]).arg(program);
        command
    }

    pub fn cut_off(&self, id: u64, yes: bool) {
        let what = if yes { "add" } else { "del" };
        for other in NODES.filter(|other| *other != id) {
            let to = host(other);
            must(&format!("-n {BRIDGE}{id} route {what} blackhole {to}"));
        }
    }
}

fn remove() {
    for id in NODES {
        ip(&format!("netns del {BRIDGE}{id}"));
    }
    ip(&format!("link del {BRIDGE}"));
}

impl Drop for Networks {
    fn drop(&mut self) {
        remove();
    }
}
