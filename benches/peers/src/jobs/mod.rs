//! What children do: a file for each kind of work.

mod acknowledge;
mod append;
mod beside;
mod compact;
mod growth;
mod many;
mod mixed;
mod packed;
mod parallel;
mod queue;
mod read;
mod submit;
mod tail;

#[cfg(feature = "openraft")]
pub use submit::sample;
pub use tail::follow;

use crate::child::{Job, Sample, Spec};
use anyhow::Result;

pub fn run(spec: &Spec) -> Result<Sample> {
    match spec.job {
        Job::Durable | Job::Checkpoints => append::durable(spec),
        Job::Buffered | Job::Written => append::unsynced(spec),
        Job::Fresh => read::fresh(spec),
        Job::Fill => read::fill(spec),
        Job::FillAndDie => read::fill_and_die(spec),
        Job::Open | Job::Read => read::read(spec),
        Job::OpenKilled => read::open_killed(spec),
        Job::Mixed => mixed::run(spec),
        Job::TailHere => tail::here(spec),
        Job::TailElsewhere => tail::elsewhere(spec),
        Job::Compact => compact::run(spec),
        Job::Queue => queue::run(spec),
        Job::Acknowledge => acknowledge::run(spec),
        Job::Parallel => parallel::run(spec),
        Job::FillText => packed::fill(spec),
        Job::ReadText => packed::read(spec),
        Job::Pack => packed::pack(spec),
        Job::Submit => submit::run(spec),
        Job::Many => many::run(spec),
        #[cfg(feature = "openraft")]
        Job::Store => crate::stores::run(spec),
        #[cfg(not(feature = "openraft"))]
        Job::Store => anyhow::bail!("this build is without openraft"),
        Job::BuildSegments => growth::build(spec),
        Job::Costs => growth::costs(spec),
    }
}
