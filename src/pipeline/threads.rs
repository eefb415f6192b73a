//! Which thread does what: stages are put on as many threads as there are cores for them, and the caller's thread
//! presents what comes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::channels::{Entry, Failure, Inbox, Input, Message, capture, guarded};
use super::stages::{Job, StageFn};
use super::{Output, PipelineOptions, Policy, Stage, Summary};
use crate::error::{Error, Result};
use crate::source::Source;
use crate::source::mailbox::Keep;

/// How often a window is kept alive while no frame comes, and how soon a wish to stop is heard.
const TICK: Duration = Duration::from_millis(20);
/// How long a source may take to end. One that does not is left behind: its thread ends with the program.
const FAREWELL: Duration = Duration::from_millis(500);
/// Frames of a file that wait decoded, at least.
const READ_AHEAD: usize = 2;

/// Stages that share a thread, and how many threads do the same, each with a frame of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) stages: &'static [Stage],
    pub(super) workers: usize,
    /// Frames in a row that each may work on at once.
    pub(super) together: usize,
}

/// Which stages between capture and output share a thread. Capture, which mostly waits, always has its own, and output is
/// the caller's.
pub(super) fn groups(policy: Policy, threads: usize) -> Vec<Group> {
    use Stage::{Level1, Level2, Level3, Pyramid, Track};
    let one = |stages| Group { stages, workers: 1, together: 1 };
    match (policy, threads) {
        // A frame that waits between threads grows old, so there are no more than can run at once.
        (Policy::Live { .. }, ..=2) => vec![one(&[Pyramid, Level1, Level2, Level3, Track])],
        (Policy::Live { .. }, 3) => vec![one(&[Pyramid, Level1]), one(&[Level2, Level3, Track])],
        (Policy::Live { .. }, 4 | 5) => {
            vec![one(&[Pyramid]), one(&[Level1]), one(&[Level2]), one(&[Level3, Track])]
        }
        (Policy::Live { .. }, _) => [[Pyramid], [Level1], [Level2], [Level3], [Track]].map(single).into(),
        // Level 1 takes longer than all else together: whole frames share cores better than stages do.
        (Policy::File { batch }, n) => {
            let search = &[Pyramid, Level1, Level2, Level3];
            vec![Group { stages: search, workers: n.max(1), together: batch.max(1) }, one(&[Track])]
        }
    }
}

fn single(stage: [Stage; 1]) -> Group {
    let [stage] = stage;
    let place = stage as usize;
    Group { stages: &Stage::ALL[place..=place], workers: 1, together: 1 }
}

/// Frames that may be on their way.
fn in_flight(policy: Policy, groups: &[Group]) -> usize {
    match policy {
        Policy::Live { in_flight } => in_flight.max(1),
        // What all threads can work on, one at the output, and as many to wait between them.
        Policy::File { .. } => 2 * groups.iter().map(|g| g.workers * g.together).sum::<usize>() + 1,
    }
}

/// Closes the inbox when dropped: then nobody waits for the source, and the source's thread ends.
struct Closing<'a>(&'a Inbox);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Runs `source` through the stages, whose functions `stage` makes for each thread, to `output`. With `ahead`, a thread of
/// its own calls that with each frame before the first stage's turn comes.
pub(super) fn run<'a>(
    source: Box<dyn Source>,
    stage: &dyn Fn(Stage) -> StageFn<'a>,
    ahead: Option<StageFn<'a>>,
    options: &PipelineOptions,
    output: &mut dyn Output,
) -> Result<Summary> {
    let groups = groups(options.policy, options.threads);
    let jobs = in_flight(options.policy, &groups);
    let keep = match options.policy {
        Policy::Live { .. } => Keep::Newest,
        // As many wait decoded as are taken at once.
        Policy::File { .. } => Keep::All(groups[0].together.max(READ_AHEAD)),
    };
    let (inbox, lost) = (Arc::new(Inbox::new(keep)), Arc::new(AtomicU64::new(0)));
    let (farewell, has_left) = bounded::<()>(0);
    let (theirs, counter) = (Arc::clone(&inbox), Arc::clone(&lost));
    // Not in the scope: a source that does not answer is left behind.
    started(
        Stage::Capture,
        Builder::new().name(Stage::Capture.name().into()).spawn(move || {
            capture(source, &theirs, &counter);
            drop(farewell);
        }),
    )?;

    let ended = std::thread::scope(|scope| {
        // On the way out all ends close that are here, and with them all threads end.
        let _closing = Closing(&inbox);
        let (credits, free) = bounded(jobs);
        for _ in 0..jobs {
            let _ = credits.send(Box::new(Job::new(output.wants_windows())));
        }
        let thread = |steps: Vec<(Stage, StageFn<'a>)>, input, together, send: Sender<Message>| {
            let stage = steps[0].0;
            let thread = Builder::new().name(stage.name().into());
            started(stage, thread.spawn_scoped(scope, move || work(steps, input, together, &send))).map(drop)
        };
        let entry = || Input::Entry(Entry::new(free.clone(), Arc::clone(&inbox)));
        let first = &groups[0];
        let mut inputs: Vec<Input> = match ahead {
            None => (0..first.workers).map(|_| entry()).collect(),
            Some(ahead) => {
                let (send, receive) = bounded(first.workers * first.together);
                thread(vec![(first.stages[0], ahead)], entry(), 1, send)?;
                (0..first.workers).map(|_| Input::Channel(receive.clone())).collect()
            }
        };
        drop(free);
        for group in &groups {
            let (send, receive) = bounded(jobs);
            for input in inputs.drain(..) {
                let steps = group.stages.iter().map(|s| (*s, stage(*s))).collect();
                thread(steps, input, group.together, send.clone())?;
            }
            inputs.push(match group.workers {
                1 => Input::Channel(receive),
                _ => Input::Ordered { input: receive, next: 0, early: BTreeMap::new() },
            });
        }
        let Some(Input::Channel(results)) = inputs.pop() else { unreachable!("one thread follows faces") };
        present(&results, &credits, &inbox, &lost, &options.stop, output)
    });
    let _ = has_left.recv_timeout(FAREWELL);
    ended
}

fn started<T>(stage: Stage, thread: std::io::Result<T>) -> Result<T> {
    let fail = |e| Error::Backend(format!("no thread could be started for it: {e}"));
    guarded(stage, || thread.map_err(fail))
}

/// A thread: calls its stages' functions with frame after frame, of those that are there already up to `together` at once.
fn work(mut stages: Vec<(Stage, StageFn<'_>)>, mut input: Input, together: usize, output: &Sender<Message>) {
    let mut jobs = Vec::with_capacity(together);
    while let Some(first) = input.next() {
        let mut failure = None;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Ok(job) => jobs.push(job),
                Err(e) => failure = Some(e),
            }
            next = if failure.is_none() && jobs.len() < together { input.next_if_there() } else { None };
        }
        if let Err(e) = through(&mut stages, &mut jobs) {
            jobs.clear();
            failure = Some(e);
        }
        let failed = failure.is_some();
        for message in jobs.drain(..).map(Ok).chain(failure.map(Err)) {
            if output.send(message).is_err() {
                return;
            }
        }
        if failed {
            return;
        }
    }
}

fn through(stages: &mut [(Stage, StageFn<'_>)], jobs: &mut [Box<Job>]) -> std::result::Result<(), Failure> {
    let Some(number) = jobs.first().map(|job| job.result.frame.number) else { return Ok(()) };
    for (stage, run) in stages {
        let begin = Instant::now();
        guarded(*stage, || run(jobs)).map_err(|error| Failure { number, error })?;
        let now = Instant::now();
        let share = (now - begin) / jobs.len() as u32;
        jobs.iter_mut().for_each(|job| job.note(*stage, share, now));
    }
    Ok(())
}

/// The last stage, on the caller's thread: `output` gets the results, and their jobs become credits again.
fn present(
    results: &Receiver<Message>,
    credits: &Sender<Box<Job>>,
    inbox: &Inbox,
    lost: &AtomicU64,
    stop: &AtomicBool,
    output: &mut dyn Output,
) -> Result<Summary> {
    let mut summary = Summary::default();
    let mut first = None;
    let dropped = || lost.load(Ordering::Relaxed) + inbox.replaced();
    loop {
        if stop.load(Ordering::Relaxed) {
            inbox.close();
        }
        let flow = match results.recv_timeout(TICK) {
            Ok(Ok(mut job)) => {
                job.result.dropped = dropped();
                let begin = Instant::now();
                let shown = guarded(Stage::Output, || output.frame(&mut job.result))?;
                let now = Instant::now();
                job.note(Stage::Output, now - begin, now);
                let captured = job.result.frame.captured;
                job.result.latency = now.saturating_duration_since(captured);
                summary.frames += 1;
                summary.elapsed = now.saturating_duration_since(*first.get_or_insert(captured));
                let after = guarded(Stage::Output, || output.presented(&mut job.result))?;
                job.traced = output.wants_windows();
                let _ = credits.try_send(job);
                if shown.is_break() { shown } else { after }
            }
            Ok(Err(failure)) => return Err(failure.error),
            Err(RecvTimeoutError::Timeout) => guarded(Stage::Output, || output.idle())?,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if flow.is_break() {
            break;
        }
    }
    summary.dropped = dropped();
    Ok(summary)
}
