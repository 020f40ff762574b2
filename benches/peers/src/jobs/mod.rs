//! What children do: a file for each kind of work.

mod append;

use crate::child::{Job, Sample, Spec};
use anyhow::Result;

pub fn run(spec: &Spec) -> Result<Sample> {
    match spec.job {
        Job::Durable => append::durable(spec),
        Job::Buffered | Job::Written => append::unsynced(spec),
    }
}
