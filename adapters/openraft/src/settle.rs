//! Who is told of appends: in their order, each once it is durable and all before it are.
//!
//! Nobody has a task for that. Whoever wakes those who wait for a sync, as a rule the log's worker, tells of all that the
//! sync covers, in one go and under no lock.
//!
//! INVARIANT: behind an append that failed none is told that it is durable: what is missing comes before it.

use cairnlog::{Error, Ticket};
use std::{
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

/// What is called once it is known what became of an append.
pub(crate) type Told = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Those who wait to be told, the oldest first.
#[derive(Default)]
pub(crate) struct Settling {
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    /// The first of those that failed.
    failed: Option<Error>,
    /// Whether somebody has taken out those who wait, to see who can be told.
    is_settling: bool,
    /// Whether somebody else has to be told since that was last looked at.
    called: bool,
}

/// A batch, and who is told of it and of all before; nobody of one that others of the same call follow.
struct Waiting {
    ticket: Option<Ticket>,
    told: Option<Told>,
}

impl Waiting {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.ticket {
            Some(ticket) => Pin::new(ticket).poll(context).map_ok(drop),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Settling {
    /// Puts a batch behind those who wait, if there is one, and who is to be told.
    pub(crate) fn push(self: &Arc<Self>, ticket: Option<Ticket>, told: Option<Told>) {
        let mut line = self.line();
        let is_first = line.waiting.is_empty();
        line.waiting.push_back(Waiting { ticket, told });
        drop(line);
        // Behind another it is seen to when that one is.
        if is_first {
            self.settle();
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        // Nothing in here leaves it half changed.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all that can be told; whoever is waited for then calls again. One does that at a time.
    fn settle(self: &Arc<Self>) {
        let waker = Waker::from(self.clone());
        let mut context = Context::from_waker(&waker);
        let mut line = self.line();
        line.called = true;
        if line.is_settling {
            return;
        }
        line.is_settling = true;
        while std::mem::take(&mut line.called) {
            let (mut waiting, mut failed) = (std::mem::take(&mut line.waiting), line.failed.take());
            drop(line);
            tell(&mut waiting, &mut failed, &mut context);
            line = self.line();
            // What came meanwhile stands behind.
            waiting.append(&mut line.waiting);
            (line.waiting, line.failed) = (waiting, failed);
        }
        line.is_settling = false;
    }
}

/// Tells from the first on, up to one of which nothing is known yet: that one will wake us.
fn tell(waiting: &mut VecDeque<Waiting>, failed: &mut Option<Error>, context: &mut Context<'_>) {
    while let Some(Poll::Ready(outcome)) = waiting.front_mut().map(|it| it.poll(context)) {
        if let Err(error) = outcome {
            failed.get_or_insert(error);
        }
        let told = waiting.pop_front().and_then(|it| it.told);
        if let Some(told) = told {
            told(failed.clone().map_or(Ok(()), |error| Err(error.into())));
        }
    }
}

impl Wake for Settling {
    fn wake(self: Arc<Self>) {
        self.settle();
    }
}

impl fmt::Debug for Settling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.line().waiting.len();
        f.debug_struct("Settling")
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}
