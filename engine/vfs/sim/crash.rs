//! A power cut at one operation, and the disks that can come out of it.
//!
//! INVARIANT: what was synced is in every state; everything pending is lost, kept or torn, each on
//! its own; bytes outside the range of an unsynced write are never harmed. States share all that
//! they have in common. Made by `power`, gone through by `enumerate`.

use super::{
    Choice, Effect, Fate, SimFs, States, Tear,
    disk::Disk,
    effect::Labels,
    enumerate,
    file_node::{FileEffect, FileNode, settle},
    names::Ino,
    rng::{Rng, mix},
    stale::with_stale_space,
    state::{Machine, State},
};
use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

/// The moment of a power cut: a disk with effects on their way, none of them certain.
///
/// Made by [`SimFs::crash_at`]. Every state is a disk of its own, freshly booted: nothing pending,
/// no locks, no faults, no history, and a seed that follows from the choice.
///
/// ```
/// use cairnlog::vfs::{Vfs, sim::{Choice, Fate, SimFs, Tear}};
/// use std::path::Path;
///
/// let (disk, path) = (SimFs::new(1), Path::new("/data"));
/// disk.write_file(path, b"old!");
/// let file = disk.open(path, cairnlog::vfs::Access::ReadWrite)?;
/// file.write_at(b"new!", 0)?;
///
/// let cut = disk.crash_at(disk.op_count());
/// assert_eq!(cut.effect_count(), 1);
/// let torn = Choice::lost().with(0, Fate::Torn(Tear::Prefix(2)));
/// assert_eq!(cut.state(&torn).read_file(path).as_deref(), Some(&b"ned!"[..]));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct CrashPoint {
    op: u64,
    disk: Disk,
    /// The disk with everything pending lost; every state starts from here.
    base: Disk,
    /// Files that a crash can bring back and that have something pending.
    files: Vec<(Ino, Arc<FileNode>)>,
    machine: Machine,
}

impl CrashPoint {
    pub(super) fn new(op: u64, disk: Disk, machine: Machine) -> Self {
        let base = disk.without_pending();
        let wanted = disk
            .files
            .iter()
            .filter(|(ino, file)| !file.pending.is_empty() && base.files.contains_key(ino))
            .map(|(ino, file)| (*ino, file.clone()));
        Self {
            op,
            files: wanted.collect(),
            base,
            disk,
            machine,
        }
    }

    /// The number of the operation in flight.
    pub fn op(&self) -> u64 {
        self.op
    }

    /// How many effects are pending, each of which may be lost on its own.
    ///
    /// Those on files that no crash can bring back (removed, and the removal synced) do not count.
    pub fn effect_count(&self) -> usize {
        let data: usize = self.files.iter().map(|(_, file)| file.pending.len()).sum();
        data + self.disk.tree.pending.len()
    }

    /// What is pending, in the order of the fates of a [`Choice`].
    pub fn effects(&self) -> Vec<Effect> {
        let labels = Labels::of(&self.base, &self.disk);
        let data = self.files.iter().flat_map(|(ino, file)| {
            let path = labels.path(*ino);
            let effect = move |effect| Effect::of_file(path.clone(), effect);
            file.pending.iter().map(effect)
        });
        let names = self
            .disk
            .tree
            .pending
            .iter()
            .map(|name| labels.effect(name));
        data.chain(names).collect()
    }

    /// The disk after the cut if each effect meets the chosen fate.
    pub fn state(&self, choice: &Choice) -> SimFs {
        let mut disk = self.base.clone();
        let mut machine = self.machine.clone();
        machine.seed = mix(machine.seed, fingerprint(choice));
        let mut fates = choice.fates();
        for (ino, file) in &self.files {
            let under = match machine.space.is_stale() {
                true => with_stale_space(file, &self.base.former, mix(machine.seed, *ino)),
                false => file.durable.clone(),
            };
            let fates = file.pending.iter().zip(fates.by_ref());
            let content = settle(under, file.durable.len(), fates);
            disk.files
                .insert(*ino, Arc::new(FileNode::settled(content)));
        }
        for (effect, fate) in self.disk.tree.pending.iter().zip(fates) {
            disk.tree.settle(effect, fate);
        }
        disk.tree.make_durable();
        SimFs::with(State::boot(disk, machine))
    }

    /// At most `limit` states, each with the choice that led to it.
    ///
    /// If every subset of the effects fits into the limit (4,096 for 12 effects), it is all of
    /// them, followed by every single write torn in six ways. If not: nothing, everything, one
    /// lost, one kept, the first few, two lost, single tears, and then choices by chance.
    pub fn all(&self, limit: u64) -> States<'_> {
        States::new(self, limit)
    }

    /// One state by chance; the same seed gives the same.
    pub fn random(&self, seed: u64) -> SimFs {
        self.state(&self.choose(seed))
    }

    /// The choice that [`random`](Self::random) makes.
    pub fn choose(&self, seed: u64) -> Choice {
        let mut rng = Rng::new(mix(seed, self.op));
        // With even odds for each, a long list would never be nearly all lost or nearly all kept,
        // and that is where the bugs are.
        let (kept, torn) = match rng.below(9) {
            0 => (5, 0),
            1 => (50, 0),
            2 => (95, 0),
            3 => (5, 20),
            4 => (50, 20),
            5 => (95, 20),
            6 => (5, 60),
            7 => (50, 60),
            _ => (95, 60),
        };
        let fates = self.lens().into_iter();
        fates
            .map(|len| enumerate::random_fate(&mut rng, len, kept, torn))
            .collect()
    }

    /// Every effect with its fate, one a line, for the report of a failing case.
    pub fn describe(&self, choice: &Choice) -> String {
        let line = |(effect, fate): (Effect, Fate)| format!("{fate:<14} {effect}\n");
        let effects = self.effects().into_iter().zip(choice.fates());
        effects.map(line).collect()
    }

    /// The length of each effect: bytes written, bytes grown by, 0 for names.
    fn lens(&self) -> Vec<u64> {
        let data = self.files.iter().flat_map(|(_, file)| &file.pending);
        let data = data.map(|effect| match effect {
            FileEffect::Data { bytes, .. } => bytes.len() as u64,
            FileEffect::Size { from, to } => to.saturating_sub(*from),
        });
        let names = self.disk.tree.pending.iter().map(|_| 0);
        data.chain(names).collect()
    }

    /// Everything that can be torn, and how.
    pub(super) fn tears(&self) -> Vec<(usize, Tear)> {
        let data = self.files.iter().flat_map(|(_, file)| &file.pending);
        let data = data.map(|effect| match effect {
            FileEffect::Data { offset, bytes } => {
                enumerate::write_tears(bytes.len() as u64, mix(self.op, *offset)).to_vec()
            }
            FileEffect::Size { from, to } if to > from => vec![Tear::Prefix((to - from) / 2)],
            FileEffect::Size { .. } => Vec::new(),
        });
        let names = self.disk.tree.pending.iter().map(|effect| {
            let twice = self.disk.tree.may_have_both_names(effect);
            if twice {
                vec![Tear::Zeroed]
            } else {
                Vec::new()
            }
        });
        let each = data.chain(names).enumerate();
        each.flat_map(|(i, tears)| tears.into_iter().map(move |tear| (i, tear)))
            .collect()
    }
}

impl fmt::Debug for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrashPoint")
            .field("op", &self.op)
            .field("effects", &self.effects())
            .finish()
    }
}

/// A number for a choice, so that the states of one point have different seeds.
fn fingerprint(choice: &Choice) -> u64 {
    struct Mixer(u64);
    impl Hasher for Mixer {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = mix(self.0, u64::from(*byte));
            }
        }
        fn write_u64(&mut self, number: u64) {
            self.0 = mix(self.0, number);
        }
    }
    let mut mixer = Mixer(0);
    choice.hash(&mut mixer);
    mixer.finish()
}
