//! Does the log keep its promises on a disk that does its worst?
//!
//! Everything here runs on the simulated disk and, but for `threads` and `behind`, is the same on every run.

mod app;
mod backup;
mod behind;
mod beside;
mod bitflip;
mod campaign;
mod consume;
mod crash;
mod deeds;
mod every_fault;
mod fault;
mod full;
mod history;
mod large;
mod losses;
mod model;
mod no_room;
mod outgrown;
mod parted;
mod putback;
mod renewed;
mod seal;
mod shadow;
mod steps;
mod stories;
mod stuck;
mod subject;
mod threads;
mod told;
#[path = "../common/unchanged.rs"]
mod unchanged;
mod unsteady;
mod world;

/// Tells where a test was when it panicked: printed only then.
struct Context<F: Fn() -> String>(F);

impl<F: Fn() -> String> Context<F> {
    fn new(text: F) -> Self {
        Self(text)
    }
}

impl<F: Fn() -> String> Drop for Context<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("-- {}", (self.0)());
        }
    }
}
