//! Deleting what no moment needs any more, beside writers that live.
//!
//! INVARIANTS
//! * The newest few commits stay, whatever their age: who stalls for shorter finds the number taken.
//! * An object goes after the commits that name it. It is one that this writer's current commit does not name, so
//!   nobody who takes over from that names it either; and one of this writer's own, or of an epoch before.
//! * What a commit keeps it names: see `keep`.
//! * What an earlier writer left is known by having read every commit that is kept, by its number: none is
//!   overlooked because a list lags.

use crate::{
    error::{Error, Result},
    layout::{Commit, Key, OBJECTS, Object, Set, commit_name},
    store::Store,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Commits that stay, at least.
const KEPT_MIN: usize = 16;
/// Requests made at most in one step, about: it is made between two copies.
const REQUESTS_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Collector {
    keep_ms: i64,
    epoch: u64,
    /// The commits that are kept, and when the store got them.
    history: BTreeMap<u64, i64>,
    /// What no commit from a number on names.
    dropped: BTreeMap<u64, Vec<Key>>,
    /// What was put and is named by no commit yet.
    unnamed: BTreeSet<Key>,
    first: u64,
    mark: Option<Mark>,
}

/// The commits from before this writer, as they are read one after the other.
#[derive(Debug)]
struct Mark {
    next: u64,
    end: u64,
    last_named: BTreeMap<Key, u64>,
    sets: BTreeMap<Key, Vec<Key>>,
}

impl Collector {
    /// For a writer that has just made this commit.
    pub(crate) fn new(claim: &Commit, put_ms: i64, keep: Duration) -> Self {
        Self {
            keep_ms: i64::try_from(keep.as_millis()).unwrap_or(i64::MAX),
            epoch: claim.epoch,
            history: BTreeMap::from([(claim.number, put_ms)]),
            dropped: BTreeMap::new(),
            unnamed: BTreeSet::new(),
            first: claim.first,
            mark: Some(Mark {
                next: claim.first,
                end: claim.number,
                last_named: BTreeMap::new(),
                sets: BTreeMap::new(),
            }),
        }
    }

    /// No commit below is kept.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// A key is used from now on.
    pub(crate) fn put(&mut self, key: Key) {
        self.unnamed.insert(key);
    }

    /// One commit follows another.
    pub(crate) fn committed(
        &mut self,
        (old, old_set): (&Commit, &Set),
        (new, new_set): (&Commit, &Set),
        put_ms: i64,
    ) {
        self.history.insert(new.number, put_ms);
        let of_set = |set: &Set, other: &Set| match set == other {
            true => Vec::new(),
            false => set.keys().collect(),
        };
        let named: BTreeSet<_> = keys(new).chain(of_set(new_set, old_set)).collect();
        let before = keys(old).chain(of_set(old_set, new_set));
        let unnamed = std::mem::take(&mut self.unnamed);
        let gone = before.chain(unnamed).filter(|key| !named.contains(key));
        let gone: BTreeSet<_> = gone.collect();
        self.dropped.entry(new.number).or_default().extend(gone);
    }

    /// A few requests' worth. True if there may be more to do at once.
    pub(crate) fn step(&mut self, store: &Store, current: &Commit, set: &Set) -> Result<bool> {
        if let Some(mark) = &mut self.mark {
            for _ in 0..REQUESTS_MAX {
                if mark.next >= mark.end {
                    self.sweep(store, current, set)?;
                    return Ok(true);
                }
                if let Some(put_ms) = mark.read(store)? {
                    self.history.insert(mark.next, put_ms);
                }
                mark.next += 1;
            }
            return Ok(true);
        }
        for _ in 0..REQUESTS_MAX / 2 {
            let mut kept = self.history.iter();
            let (Some((&oldest, _)), Some((&second, &second_ms))) = (kept.next(), kept.next())
            else {
                return Ok(false);
            };
            let newest_ms = self
                .history
                .last_key_value()
                .map_or(0, |(_, put_ms)| *put_ms);
            let is_young = newest_ms.saturating_sub(second_ms) < self.keep_ms;
            if self.history.len() <= KEPT_MIN || is_young {
                self.first = oldest;
                return Ok(false);
            }
            store.delete(&[commit_name(oldest)])?;
            self.history.remove(&oldest);
            self.first = second;
            let later = self.dropped.split_off(&(second + 1));
            let gone = std::mem::replace(&mut self.dropped, later);
            delete(store, gone.into_values().flatten())?;
        }
        Ok(true)
    }

    /// Every commit from before was read: what is there and none of them names goes.
    fn sweep(&mut self, store: &Store, current: &Commit, set: &Set) -> Result<()> {
        let Some(mark) = &self.mark else {
            return Ok(());
        };
        let named: BTreeSet<_> = keys(current).chain(set.keys()).collect();
        let is_left = |key: &Key| {
            let is_named = mark.last_named.contains_key(key) || named.contains(key);
            key.epoch < self.epoch && !is_named
        };
        let listed = store.list(OBJECTS, None)?;
        let left = listed
            .iter()
            .filter_map(|name| Key::parse(name))
            .filter(is_left);
        // What the first commit of this writer named, its later ones account for.
        let is_known = |number: u64| number + 1 >= mark.end;
        let dropped = mark
            .last_named
            .iter()
            .filter(|(_, number)| !is_known(**number));
        for (key, number) in dropped {
            self.dropped.entry(number + 1).or_default().push(*key);
        }
        delete(store, left)?;
        self.mark = None;
        Ok(())
    }
}

impl Mark {
    /// What the next commit names, and when it was put; `None` if it is not there.
    fn read(&mut self, store: &Store) -> Result<Option<i64>> {
        let Some((commit, _, put_ms)) = store.commit(self.next)? else {
            return Ok(None);
        };
        let mut named: Vec<_> = keys(&commit).collect();
        if let Some(state) = &commit.state {
            named.extend(self.parts_of(&state.set, store)?);
        }
        self.last_named
            .extend(named.into_iter().map(|key| (key, self.next)));
        Ok(Some(put_ms))
    }

    fn parts_of(&mut self, set: &Object, store: &Store) -> Result<Vec<Key>> {
        if let Some(known) = self.sets.get(&set.key) {
            return Ok(known.clone());
        }
        let keys = match store.set(set) {
            Ok(set) => set.keys().collect(),
            // Of a commit that was put again after it was collected.
            Err(Error::NotFound(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        self.sets.insert(set.key, keys.clone());
        Ok(keys)
    }
}

fn delete(store: &Store, keys: impl Iterator<Item = Key>) -> Result<()> {
    let names: Vec<_> = keys.map(Key::name).collect();
    names.chunks(1000).try_for_each(|names| store.delete(names))
}

fn parts(files: &[crate::layout::File]) -> Vec<Key> {
    let parts = files.iter().flat_map(|file| &file.parts);
    parts.map(|part| part.key).collect()
}

/// What a commit names itself, without the parts in its set.
fn keys(commit: &Commit) -> impl Iterator<Item = Key> + '_ {
    commit.state.iter().flat_map(|state| {
        let objects = [Some(state.set), state.producers, state.cursors];
        let objects = objects.into_iter().flatten().map(|object| object.key);
        objects.chain(parts(&state.tails))
    })
}
