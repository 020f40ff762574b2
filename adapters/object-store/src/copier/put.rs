//! What is put of a moment: what the store has not got yet.
//!
//! INVARIANTS: a key is used once; what is put is known, whether or not a commit comes to name it.
//!
//! Called by a step of `Copier`; calls the store, `plan`.

use super::{Beside, Copier};
use crate::{
    error::Result,
    layout::{File, Key, Object, Set, State, encode_cursors},
    plan::{PART_BYTES, kept_of_sealed, kept_of_tail},
};
use bytes::Bytes;
use cairnlog::{
    StoredFile, StoredMoment, StoredSegment,
    format::{Manifest, crc32c},
};

impl Copier {
    /// Puts what the store has not got of a moment.
    pub(super) fn put(&mut self, moment: &StoredMoment) -> Result<(State, Set)> {
        let mut sealed = Vec::new();
        let (mut files, mut tails) = (Vec::new(), Vec::new());
        for segment in &moment.segments {
            match segment.sealed_entry() {
                Some(entry) => {
                    sealed.push(*entry);
                    files.push(self.put_sealed(segment)?);
                }
                None => tails.push(self.put_tail(segment)?),
            }
        }
        let kept = self.kept(&moment.manifest, &sealed, &files);
        let set = Set {
            sealed,
            files,
            kept,
        };
        let object = match &self.current.state {
            Some(state) if self.set == set => state.set,
            _ => self.put_object(vec![set.encode(&moment.manifest)])?,
        };
        let producers = moment.producers.as_deref().map(Bytes::copy_from_slice);
        let cursors = (!moment.cursors.is_empty()).then(|| encode_cursors(&moment.cursors));
        let state = State {
            manifest: Manifest {
                sealed: Vec::new(),
                ..moment.manifest.clone()
            },
            set: object,
            producers: self.put_beside(|it| &mut it.producers, producers)?,
            cursors: self.put_beside(|it| &mut it.cursors, cursors)?,
            tails,
        };
        Ok((state, set))
    }

    fn put_beside(
        &mut self,
        which: impl Fn(&mut Beside) -> &mut Option<(Bytes, Object)>,
        wanted: Option<Bytes>,
    ) -> Result<Option<Object>> {
        let Some(wanted) = wanted else {
            // What no commit names any more is not named again.
            *which(&mut self.beside) = None;
            return Ok(None);
        };
        if let Some((bytes, object)) = which(&mut self.beside)
            && *bytes == wanted
        {
            return Ok(Some(*object));
        }
        let object = self.put_object(vec![wanted.clone()])?;
        *which(&mut self.beside) = Some((wanted, object));
        Ok(Some(object))
    }

    /// What is known of a segment; nothing, if another was known under its id.
    fn known(&self, segment: &StoredSegment) -> File {
        let known = self.known.get(&segment.id());
        let same = known.filter(|file| file.salt == segment.salt());
        same.cloned().unwrap_or_else(|| File {
            id: segment.id(),
            salt: segment.salt(),
            parts: Vec::new(),
            finished: false,
        })
    }

    fn put_sealed(&mut self, segment: &StoredSegment) -> Result<File> {
        let mut file = self.known(segment);
        if file.finished && file.bytes() >= segment.frames_end() {
            return Ok(file);
        }
        file.finished = false;
        file.parts
            .truncate(kept_of_sealed(&file.parts, segment.frames_end()));
        let opened = segment.open()?;
        let footer = opened.footer()?.unwrap_or_default();
        // It may have been ended before what was put: that makes room for its footer, or means nothing.
        if !footer.is_empty() {
            let fit = file.parts_within(segment.frames_end());
            file.parts.truncate(fit);
        }
        if file.bytes() <= segment.frames_end() {
            self.put_parts(&mut file, segment, &opened, footer)?;
        }
        file.finished = true;
        self.known.insert(file.id, file.clone());
        Ok(file)
    }

    fn put_tail(&mut self, segment: &StoredSegment) -> Result<File> {
        let mut file = self.known(segment);
        if file.bytes() < segment.frames_end() {
            file.parts.truncate(kept_of_tail(&file.parts));
            self.put_parts(&mut file, segment, &segment.open()?, Bytes::new())?;
        }
        Ok(file)
    }

    /// Puts the bytes of a segment behind the parts that it has, and last what stands behind its frames.
    fn put_parts(
        &mut self,
        file: &mut File,
        segment: &StoredSegment,
        opened: &StoredFile,
        footer: Bytes,
    ) -> Result<()> {
        let mut footer = Some(footer).filter(|it| !it.is_empty());
        loop {
            let offset = file.bytes();
            let mut pieces = Vec::new();
            if offset < segment.frames_end() {
                pieces.push(opened.read(offset, PART_BYTES as usize)?);
            }
            let end = offset + pieces.iter().map(|it| it.len() as u64).sum::<u64>();
            if end == segment.frames_end() {
                pieces.extend(footer.take());
            }
            if pieces.is_empty() {
                return Ok(());
            }
            let part = self.put_object(pieces)?;
            file.parts.push(part);
            self.known.insert(file.id, file.clone());
            if end == segment.frames_end() {
                return Ok(());
            }
        }
    }

    fn put_object(&mut self, pieces: Vec<Bytes>) -> Result<Object> {
        let key = Key {
            epoch: self.current.epoch,
            number: self.next_key,
        };
        self.next_key += 1;
        let object = Object {
            key,
            bytes: pieces.iter().map(|piece| piece.len() as u64).sum(),
            checksum: pieces.iter().fold(0, |crc, piece| crc32c(crc, piece)),
        };
        // Until a commit names it, it is nobody's.
        self.collector.put(key);
        if !self.store.put_new(&key.name(), pieces)? {
            // The store may have tried twice by itself. Else somebody has this epoch as well.
            self.store.object(&object)?;
        }
        Ok(object)
    }
}
