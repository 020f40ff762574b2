//! Marks: small named values that a commit of the manifest carries.
//!
//! INVARIANT: the catalog's marks are those of the last manifest that is known to be durable; both change under
//! the one lock over all commits that change what the log holds.
//!
//! Called by `Log`; calls manifest, catalog.

use super::Core;
use crate::{
    error::{Error, ErrorKind, Op, Result},
    format::{
        cursor::is_name,
        marks::{MARK_VALUE_BYTES_MAX, MARKS_BYTES_MAX, Mark, marks_bytes},
    },
    sync::Arc,
};

impl Core {
    /// Sets a mark; durable when it returns.
    pub(crate) fn set_mark(&self, name: &str, value: &[u8]) -> Result<()> {
        if !is_name(name) {
            let note = "a mark's name is 1 to 255 bytes without control characters";
            return Err(Error::note(ErrorKind::InvalidInput, Op::Mark, note));
        }
        if value.len() > MARK_VALUE_BYTES_MAX {
            let note = "a mark's value is at most 4,096 bytes";
            return Err(Error::note(ErrorKind::TooLarge, Op::Mark, note));
        }
        self.edit_marks(|marks| {
            let mark = Mark::new(name, value);
            match find(marks, name) {
                Ok(slot) => *slot = mark,
                Err(at) => marks.insert(at, mark),
            }
        })
    }

    /// Removes a mark durably; whether there was one.
    pub(crate) fn remove_mark(&self, name: &str) -> Result<bool> {
        let mut was_there = false;
        self.edit_marks(|marks| {
            let before = marks.len();
            marks.retain(|mark| mark.name != name);
            was_there = marks.len() < before;
        })?;
        Ok(was_there)
    }

    fn edit_marks(&self, edit: impl FnOnce(&mut Vec<Mark>)) -> Result<()> {
        let _inside = self.enter(Op::Mark)?;
        let _no_other_change = self.hold_segments();
        let mut marks = Vec::clone(&self.catalog().load().marks);
        edit(&mut marks);
        if marks_bytes(&marks) > MARKS_BYTES_MAX {
            let note = "the marks of a log take at most 65,536 bytes together";
            return Err(Error::note(ErrorKind::TooLarge, Op::Mark, note));
        }
        // DURABILITY: after this commit the mark is as it was set.
        self.commit(Op::Mark, None, |manifest| manifest.marks.clone_from(&marks))?;
        self.catalog()
            .swap(|catalog| catalog.marks = Arc::new(marks));
        Ok(())
    }
}

/// The mark of this name; or where it would stand.
fn find<'a>(marks: &'a mut [Mark], name: &str) -> std::result::Result<&'a mut Mark, usize> {
    let at = marks.binary_search_by(|mark| mark.name.as_str().cmp(name))?;
    marks.get_mut(at).ok_or(at)
}
