//! Directories of the simulated disk: names, and the changes to them that are not durable yet.
//!
//! INVARIANT: a rename is one effect; its removal never becomes durable before its target. Beyond
//! that, unsynced effects on names are lost or kept independently, and of those kept on one name
//! the last wins. Used by `disk` (to run) and `crash` (to choose).

use super::choice::Fate;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    io,
    path::{Component, Path},
    sync::Arc,
};

/// The number of a file or directory; never used twice on one disk.
pub(super) type Ino = u64;
pub(super) const ROOT: Ino = 0;
/// More links on one path are taken for a circle.
const LINKS_MAX: usize = 40;
pub(super) type Name = Arc<OsStr>;
pub(super) type Names = BTreeMap<Name, Ino>;

/// A place that a name can have: a directory, and the name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) dir: Ino,
    pub(super) name: Name,
}

#[derive(Clone, Debug, Default)]
pub(super) struct DirNode {
    pub(super) live: Arc<Names>,
    pub(super) durable: Arc<Names>,
}

/// A change of names that no sync of the directory has made durable: a link (`put` alone), an
/// unlink (`cut` alone), a rename (both), or an exchange in one directory (`put` and `also`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NameEffect {
    pub(super) put: Option<(Slot, Ino)>,
    pub(super) also: Option<(Slot, Ino)>,
    pub(super) cut: Option<Slot>,
}

impl NameEffect {
    /// What gets a name.
    pub(super) fn puts(&self) -> impl Iterator<Item = &(Slot, Ino)> {
        self.put.iter().chain(&self.also)
    }

    pub(super) fn puts_in(&self, dir: Ino) -> bool {
        self.puts().any(|(slot, _)| slot.dir == dir)
    }

    pub(super) fn cuts_in(&self, dir: Ino) -> bool {
        self.cut.as_ref().is_some_and(|slot| slot.dir == dir)
    }

    pub(super) fn is_rename(&self) -> bool {
        self.put.is_some() && self.cut.is_some()
    }
}

/// All directories, and the ordered effects on them.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) dirs: BTreeMap<Ino, Arc<DirNode>>,
    /// Symbolic links, with the path that each leads to.
    pub(super) links: BTreeMap<Ino, Arc<Path>>,
    pub(super) pending: Vec<NameEffect>,
}

impl Tree {
    pub(super) fn new() -> Self {
        Self {
            dirs: BTreeMap::from([(ROOT, Arc::default())]),
            links: BTreeMap::new(),
            pending: Vec::new(),
        }
    }

    pub(super) fn live(&self, dir: Ino) -> Option<&Names> {
        self.dirs.get(&dir).map(|node| &*node.live)
    }

    /// Whatever the path names, if the directories on the way are there. A link in its last component is
    /// what it names, any other is followed.
    pub(super) fn lookup(&self, path: &Path) -> io::Result<Ino> {
        self.walk(path, false)
    }

    /// The same, and the last link is followed as well.
    pub(super) fn lookup_followed(&self, path: &Path) -> io::Result<Ino> {
        self.walk(path, true)
    }

    /// The place that the path's last name has or would have.
    pub(super) fn slot(&self, path: &Path) -> io::Result<Slot> {
        let name = path.file_name().ok_or(io::ErrorKind::AlreadyExists)?;
        let dir = self.lookup_followed(path.parent().unwrap_or(Path::new("")))?;
        self.live(dir).ok_or(io::ErrorKind::NotADirectory)?;
        Ok(Slot {
            dir,
            name: Arc::from(name),
        })
    }

    /// Follows a path from the root, where a relative one starts too.
    fn walk(&self, path: &Path, follow_last: bool) -> io::Result<Ino> {
        let mut left: Vec<OsString> = names_of(path).collect();
        let (mut way, mut links) = (vec![ROOT], 0);
        while let Some(name) = left.pop() {
            if name == ".." {
                if way.len() > 1 {
                    way.pop();
                }
                continue;
            }
            let dir = way.last().copied().unwrap_or(ROOT);
            let names = self.live(dir).ok_or(io::ErrorKind::NotADirectory)?;
            let ino = *names.get(&*name).ok_or(io::ErrorKind::NotFound)?;
            match self.links.get(&ino) {
                Some(target) if follow_last || !left.is_empty() => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(io::Error::from_raw_os_error(libc::ELOOP));
                    }
                    if target.is_absolute() {
                        way.truncate(1);
                    }
                    left.extend(names_of(target));
                }
                _ => way.push(ino),
            }
        }
        Ok(way.last().copied().unwrap_or(ROOT))
    }

    /// The directory in which this one has its name; the root is in itself.
    pub(super) fn parent(&self, dir: Ino) -> Option<Ino> {
        let holds = |node: &DirNode| node.live.values().any(|ino| *ino == dir);
        let found = self.dirs.iter().find(|(_, node)| holds(node));
        found.map(|(ino, _)| *ino).or((dir == ROOT).then_some(ROOT))
    }

    /// How many names a file has.
    pub(super) fn name_count(&self, file: Ino) -> usize {
        let names = self.dirs.values().flat_map(|node| node.live.values());
        names.filter(|ino| **ino == file).count()
    }

    pub(super) fn at(&self, slot: &Slot) -> Option<Ino> {
        self.live(slot.dir)?.get(&slot.name).copied()
    }

    /// Whether one directory is another or lies anywhere inside it.
    pub(super) fn is_below(&self, dir: Ino, above: Ino) -> bool {
        let mut seen = BTreeSet::new();
        let mut todo = vec![above];
        while let Some(at) = todo.pop() {
            if at == dir {
                return true;
            }
            // A crash between moves of directories can leave one inside itself.
            if seen.insert(at) {
                todo.extend(self.live(at).into_iter().flatten().map(|(_, ino)| *ino));
            }
        }
        false
    }

    /// Changes what the process sees, and leaves the effect pending.
    pub(super) fn change(&mut self, effect: NameEffect) {
        self.apply(&effect, Side::Live);
        self.pending.push(effect);
    }

    /// Changes names as from outside: at once, and durably.
    pub(super) fn change_durably(&mut self, effect: &NameEffect) {
        self.apply(effect, Side::Live);
        self.apply(effect, Side::Durable);
        for slot in effect.puts().map(|(slot, _)| slot).chain(&effect.cut) {
            supersede(&mut self.pending, slot);
        }
    }

    pub(super) fn sync(&mut self, dir: Ino) {
        let mut left: Vec<NameEffect> = Vec::new();
        for mut effect in std::mem::take(&mut self.pending) {
            if effect.cuts_in(dir) {
                // The target comes first or with it: a rename that had lost its source but not
                // gained its target would be neither.
                if let Some((slot, _)) = &effect.put {
                    supersede(&mut left, slot);
                }
                self.apply(&effect, Side::Durable);
            } else if effect.puts_in(dir) {
                let (put, also) = (effect.put.take(), effect.also.take());
                let put = NameEffect {
                    put,
                    also,
                    cut: None,
                };
                self.apply(&put, Side::Durable);
                if effect.cut.is_some() {
                    left.push(effect);
                }
            } else {
                left.push(effect);
            }
        }
        self.pending = left;
    }

    /// Nothing of what was pending on this directory will become durable; with `show_old`, it is
    /// not visible any longer either.
    pub(super) fn sync_failed(&mut self, dir: Ino, show_old: bool) {
        let (gone, left) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|effect| effect.puts_in(dir) || effect.cuts_in(dir));
        self.pending = left;
        if !show_old {
            return;
        }
        let gone: Vec<NameEffect> = gone;
        let slots = gone
            .iter()
            .flat_map(|effect| effect.puts().map(|(slot, _)| slot).chain(&effect.cut));
        for touched in slots.map(|slot| slot.dir).chain([dir]) {
            self.reset(touched);
        }
        for effect in self.pending.clone() {
            self.apply(&effect, Side::Live);
        }
    }

    fn reset(&mut self, dir: Ino) {
        if let Some(node) = self.dirs.get_mut(&dir) {
            let node = Arc::make_mut(node);
            node.live = node.durable.clone();
        }
    }

    /// Lets an effect meet its fate on a disk that has booted; [`Self::make_durable`] comes after.
    pub(super) fn settle(&mut self, effect: &NameEffect, fate: Fate) {
        let survivor = match fate {
            Fate::Lost => return,
            Fate::Torn(_) if self.may_have_both_names(effect) => &NameEffect {
                put: effect.put.clone(),
                ..NameEffect::default()
            },
            Fate::Kept | Fate::Torn(_) => effect,
        };
        self.apply(survivor, Side::Live);
    }

    /// Makes everything visible durable.
    pub(super) fn make_durable(&mut self) {
        for node in self.dirs.values_mut() {
            if !Arc::ptr_eq(&node.live, &node.durable) {
                let node = Arc::make_mut(node);
                node.durable = node.live.clone();
            }
        }
    }

    /// A directory with two parents could contain itself, so only files may have both names.
    pub(super) fn may_have_both_names(&self, effect: &NameEffect) -> bool {
        let is_dir = |ino| self.dirs.contains_key(ino);
        effect.is_rename() && !effect.put.as_ref().is_some_and(|(_, ino)| is_dir(ino))
    }

    fn apply(&mut self, effect: &NameEffect, side: Side) {
        if let Some(slot) = &effect.cut
            && let Some(names) = self.names_mut(slot.dir, side)
        {
            names.remove(&slot.name);
        }
        for (slot, ino) in effect.puts() {
            if let Some(names) = self.names_mut(slot.dir, side) {
                names.insert(slot.name.clone(), *ino);
            }
        }
    }

    fn names_mut(&mut self, dir: Ino, side: Side) -> Option<&mut Names> {
        let node = Arc::make_mut(self.dirs.get_mut(&dir)?);
        Some(Arc::make_mut(match side {
            Side::Live => &mut node.live,
            Side::Durable => &mut node.durable,
        }))
    }
}

#[derive(Clone, Copy)]
enum Side {
    Live,
    Durable,
}

/// Takes from `effects` what a later, already durable change of the same name has overtaken.
fn supersede(effects: &mut Vec<NameEffect>, slot: &Slot) {
    for effect in effects.iter_mut() {
        effect.put.take_if(|(put, _)| put == slot);
        effect.also.take_if(|(put, _)| put == slot);
        effect.cut.take_if(|cut| cut == slot);
    }
    effects.retain(|effect| effect.puts().next().is_some() || effect.cut.is_some());
}

/// The names on a path, the last one first; `..` is one of them.
fn names_of(path: &Path) -> impl Iterator<Item = OsString> {
    path.components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
}
