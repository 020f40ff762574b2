//! Three processes, on loopback or each in a network of its own.

use crate::networks::Networks;
use std::{
    env,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

pub struct Nodes {
    dir: tempfile::TempDir,
    addresses: Vec<String>,
    networks: Option<Networks>,
    running: Vec<Option<Child>>,
}

/// The example, which is built along with the tests.
fn program() -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    profile.join("examples").join("kv")
}

impl Nodes {
    pub fn on_loopback() -> Self {
        // Ports that are free, as long as nobody else takes them meanwhile.
        let listeners: Vec<_> = (0..3)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let addresses = listeners
            .iter()
            .map(|it| it.local_addr().unwrap().to_string())
            .collect();
        drop(listeners);
        Self::start(addresses, None)
    }

    /// Each in a network namespace.
    pub fn apart(networks: Networks) -> Self {
        Self::start(networks.addresses(), Some(networks))
    }

    fn start(addresses: Vec<String>, networks: Option<Networks>) -> Self {
        let mut nodes = Self {
            dir: tempfile::tempdir().unwrap(),
            addresses,
            networks,
            running: Vec::new(),
        };
        nodes.running = (1..=3).map(|id| Some(nodes.spawn(id))).collect();
        nodes
    }

    pub fn addresses(&self) -> Vec<String> {
        self.addresses.clone()
    }

    fn spawn(&self, id: u64) -> Child {
        let mut command = match &self.networks {
            Some(networks) => networks.command(id, &program()),
            None => Command::new(program()),
        };
        command
            .arg(id.to_string())
            .arg(self.dir.path().join(id.to_string()))
            .args(&self.addresses);
        let spawned = command.stdin(Stdio::null()).spawn();
        spawned.expect("it is not built: `cargo build -p cairnlog-openraft --examples`")
    }

    /// With SIGKILL.
    pub fn kill(&mut self, id: u64) {
        let slot = &mut self.running[id as usize - 1];
        let mut child = slot.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn restart(&mut self, id: u64) {
        self.running[id as usize - 1] = Some(self.spawn(id));
    }

    /// Cuts a node off from the other nodes, or not any more.
    pub fn cut_off(&self, id: u64, yes: bool) {
        let networks = self.networks.as_ref().expect("they have networks");
        networks.cut_off(id, yes);
    }

    pub fn stop(mut self) {
        for id in 1..=3 {
            let ended = self.running[id - 1]
                .as_mut()
                .expect("it runs")
                .try_wait()
                .unwrap();
            assert!(ended.is_none(), "node {id} ended by itself: {ended:?}");
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in self.running.iter_mut().flatten() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
