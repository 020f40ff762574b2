//! How a writer becomes the one that copies: by a commit in an epoch of its own, put if nobody has its number.
//!
//! INVARIANT: nothing is committed in a store that was not seen to refuse a put.
//!
//! Called by who starts a copy; calls the store.

use super::{Beside, Copier, CopyOptions};
use crate::{
    collect::Collector,
    error::{Error, Result},
    layout::{Commit, PROBE, Set, commit_name},
    store::Store,
};
use cairnlog::{
    StoredLog,
    format::{Manifest, crc32c},
};
use std::collections::{BTreeMap, BTreeSet};

/// How often a place is asked for while others take it.
const CLAIMS_MAX: usize = 100;

impl Copier {
    /// Takes a store over: whoever copied into it before is fenced off. Nothing is copied yet.
    ///
    /// # Errors
    /// `OtherLog` if the store holds another log, or this one as it went on elsewhere
    /// ([`CopyOptions::take_over`]); `Overwrites` if the store does not know conditional puts; `Store`, `TimedOut`, `Damaged`; `Log`.
    pub fn start(log: StoredLog, store: &Store, options: CopyOptions) -> Result<Self> {
        let owner = log.moment()?.manifest;
        check_refuses(store)?;
        let writer = options.clock.random();
        for _ in 0..CLAIMS_MAX {
            let newest = store.newest()?;
            let now_ms = options.clock.unix_time_ms();
            let claim = claim(newest.as_ref(), &owner, &options, (writer, now_ms))?;
            let bytes = claim.encode();
            // Whether it was put is what reading it back says.
            let name = commit_name(claim.number);
            let put = store.put_new(&name, vec![bytes.clone()]);
            match (store.get(&name)?, put) {
                (Some((found, put_ms)), _) if found == bytes => {
                    let checksum = crc32c(0, &bytes);
                    return Self::go_on(log, store, options, (claim, checksum), put_ms);
                }
                (Some(_), _) => {}
                (None, put) => {
                    put?;
                }
            }
        }
        Err(Error::NotFound(
            "others take the store over again and again".into(),
        ))
    }

    fn go_on(
        log: StoredLog,
        store: &Store,
        options: CopyOptions,
        (current, checksum): (Commit, u32),
        put_ms: i64,
    ) -> Result<Self> {
        let set = match &current.state {
            Some(state) => store.set(&state.set)?,
            None => Set::default(),
        };
        let collector = Collector::new(&current, put_ms, options.keep);
        let mut copier = Self {
            log,
            store: store.clone(),
            options,
            checksum,
            known: BTreeMap::new(),
            set,
            beside: Beside::default(),
            asked: BTreeSet::new(),
            next_key: 0,
            pending: None,
            fenced: None,
            collector,
            current,
        };
        copier.check_newest()?;
        copier.remember();
        copier.forget_parted()?;
        Ok(copier)
    }
}

/// Sees whether the store refuses to put an object where there is one. Some do not know the condition, and say that all went well.
fn check_refuses(store: &Store) -> Result<()> {
    let is_put = || store.put_new(PROBE, vec!["there, and not put again\n".into()]);
    if is_put()? && is_put()? {
        let path = PROBE.to_owned();
        return Err(Error::Overwrites { path });
    }
    Ok(())
}

/// What a writer that takes over commits first: the state as it is, in an epoch of its own.
fn claim(
    newest: Option<&(Commit, u32)>,
    owner: &Manifest,
    options: &CopyOptions,
    (writer, now_ms): (u64, i64),
) -> Result<Commit> {
    let own = Commit {
        number: 1,
        epoch: 1,
        writer,
        taken_ms: now_ms,
        first: 1,
        previous: 0,
        log_id: owner.log_id,
        incarnation: owner.incarnation,
        state: None,
    };
    let Some((newest, checksum)) = newest else {
        return Ok(own);
    };
    if newest.log_id != owner.log_id {
        return Err(Error::OtherLog("the store holds another log".into()));
    }
    let is_other = newest.incarnation != owner.incarnation;
    if is_other && !options.take_over {
        return Err(Error::OtherLog(
            "the store holds this log as it went on elsewhere; it has to be said that this one takes over".into(),
        ));
    }
    Ok(Commit {
        number: newest.number + 1,
        epoch: newest.epoch + 1,
        taken_ms: now_ms.max(newest.taken_ms),
        first: newest.first,
        previous: *checksum,
        state: newest.state.clone(),
        ..own
    })
}
