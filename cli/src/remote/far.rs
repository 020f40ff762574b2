//! The segments that a log has let go of: in which store they are read, settled once for the whole run.

use super::existing;
use crate::exit::Outcome;
use cairnlog::Options;
use cairnlog_object_store::StoreSegments;
use std::sync::{Arc, OnceLock};

static SEGMENTS: OnceLock<Arc<StoreSegments>> = OnceLock::new();

/// Settles it by what the command line says. The store is not asked before a far segment is read.
pub fn settle(url: Option<&str>) -> Outcome {
    if let Some(url) = url {
        // Nobody has settled it before: this is done once, before anything else.
        SEGMENTS.set(StoreSegments::new(&existing(url)?)).ok();
    }
    Ok(())
}

/// Whether a store was named.
pub fn is_given() -> bool {
    SEGMENTS.get().is_some()
}

/// Options with the way to that store, if one was named.
pub fn given_to(options: Options) -> Options {
    match SEGMENTS.get() {
        None => options,
        Some(segments) => options.far_segments(segments.clone()),
    }
}
