//! The smallest state machine of openraft 0.9: it remembers what it was given last, and has snapshots in memory.

use openraft_09::{
    Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta,
    StorageError, StoredMembership, storage::RaftStateMachine,
};
use std::{
    io::Cursor,
    sync::{Arc, Mutex},
};

openraft_09::declare_raft_types!(pub Types: R = ());

type Failure = StorageError<u64>;
type Members = StoredMembership<u64, openraft_09::BasicNode>;

#[derive(Clone, Debug, Default)]
pub struct Machine(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    applied: Option<LogId<u64>>,
    members: Members,
    last: String,
    snapshot: Option<(SnapshotMeta<u64, openraft_09::BasicNode>, Vec<u8>)>,
}

impl RaftSnapshotBuilder<Types> for Machine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, Failure> {
        let mut state = self.0.lock().unwrap();
        let meta = SnapshotMeta {
            last_log_id: state.applied,
            last_membership: state.members.clone(),
            snapshot_id: format!("{:?}", state.applied),
        };
        let bytes = state.last.clone().into_bytes();
        state.snapshot = Some((meta.clone(), bytes.clone()));
        let snapshot = Box::new(Cursor::new(bytes));
        Ok(Snapshot { meta, snapshot })
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId<u64>>, Members), Failure> {
        let state = self.0.lock().unwrap();
        Ok((state.applied, state.members.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, Failure>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut state = self.0.lock().unwrap();
        let mut replies = Vec::new();
        for entry in entries {
            state.applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Normal(text) => state.last = text,
                EntryPayload::Membership(members) => {
                    state.members = Members::new(Some(entry.log_id), members);
                }
                EntryPayload::Blank => {}
            }
            replies.push(());
        }
        Ok(replies)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, Failure> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, openraft_09::BasicNode>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), Failure> {
        let mut state = self.0.lock().unwrap();
        (state.applied, state.members) = (meta.last_log_id, meta.last_membership.clone());
        state.last = String::from_utf8(snapshot.get_ref().clone()).unwrap();
        state.snapshot = Some((meta.clone(), snapshot.into_inner()));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, Failure> {
        let state = self.0.lock().unwrap();
        Ok(state.snapshot.clone().map(|(meta, bytes)| Snapshot {
            meta,
            snapshot: Box::new(Cursor::new(bytes)),
        }))
    }
}
