//! Distributes the stages over as many threads as there are cores for them, and runs these; the caller's thread runs the
//! output.

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

/// While no frame comes, the output's [`Output::idle`] is called and the stop flag is read this often.
const TICK: Duration = Duration::from_millis(20);
/// Time to wait for the source's thread to end. The thread of a source that does not answer goes on until the program
/// ends.
const END_TIMEOUT: Duration = Duration::from_millis(500);
/// Number of decoded frames of a file that wait for the first stage; more if that takes more at once.
const READ_AHEAD: usize = 2;

/// Stages that share a thread, and the number of threads that run the same stages, each on frames of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) stages: Vec<Stage>,
    /// Number of threads.
    pub(super) workers: usize,
    /// Most frames in a row that each thread works on together.
    pub(super) together: usize,
}

/// Groups the stages between capture and output, for a cascade of `levels`, by the thread that runs them. Capture, which mostly
/// waits, always has a thread of its own; output runs on the caller's thread.
pub(super) fn groups(policy: Policy, threads: usize, levels: usize) -> Vec<Group> {
    use Stage::{Level1, Level2, Level3, Pyramid, Track};
    let one = |stages: &[Stage]| Group { stages: stages.into(), workers: 1, together: 1 };
    let mut groups = match (policy, threads) {
        // A frame grows older while it waits between threads, so there are no more threads than can run at once.
        (Policy::Live { .. }, ..=2) => vec![one(&[Pyramid, Level1, Level2, Level3, Track])],
        (Policy::Live { .. }, 3) => vec![one(&[Pyramid, Level1]), one(&[Level2, Level3, Track])],
        (Policy::Live { .. }, 4 | 5) => {
            vec![one(&[Pyramid]), one(&[Level1]), one(&[Level2]), one(&[Level3, Track])]
        }
        (Policy::Live { .. }, _) => [Pyramid, Level1, Level2, Level3, Track].map(|stage| one(&[stage])).into(),
        // Level 1 takes longer than all other stages together, so giving whole frames to threads uses cores better.
        (Policy::File { batch }, n) => {
            let search = vec![Pyramid, Level1, Level2, Level3];
            vec![Group { stages: search, workers: n.max(1), together: batch.max(1) }, one(&[Track])]
        }
    };
    groups.iter_mut().for_each(|group| group.stages.retain(|stage| stage.level().is_none_or(|level| level <= levels)));
    groups.retain(|group| !group.stages.is_empty());
    groups
}

/// Most frames that may be in the pipeline at once.
fn in_flight(policy: Policy, groups: &[Group]) -> usize {
    match policy {
        Policy::Live { in_flight } => in_flight.max(1),
        // As many as all threads can work on, as many again to wait between them, and one at the output.
        Policy::File { .. } => 2 * groups.iter().map(|g| g.workers * g.together).sum::<usize>() + 1,
    }
}

/// Closes the inbox when dropped, so that no thread waits for the source and the source's thread ends.
struct Closing<'a>(&'a Inbox);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Runs frames of `source` through the stages of a cascade of `levels` to `output`. `stage` makes a stage's function for one
/// thread. `ahead`, if there is one, is called with each frame before the first stage, on a thread of its own.
pub(super) fn run<'a>(
    source: Box<dyn Source>,
    levels: usize,
    stage: &dyn Fn(Stage) -> StageFn<'a>,
    ahead: Option<StageFn<'a>>,
    options: &PipelineOptions,
    output: &mut dyn Output,
) -> Result<Summary> {
    let groups = groups(options.policy, options.threads, levels);
    let jobs = in_flight(options.policy, &groups);
    let keep = match options.policy {
        Policy::Live { .. } => Keep::Newest,
        // As many frames wait as the first stage takes together.
        Policy::File { .. } => Keep::All(groups[0].together.max(READ_AHEAD)),
    };
    let (inbox, dropped) = (Arc::new(Inbox::new(keep)), Arc::new(AtomicU64::new(0)));
    // Its sender is dropped when the source's thread ends.
    let (running, source_ended) = bounded::<()>(0);
    let (sources_inbox, sources_drops) = (Arc::clone(&inbox), Arc::clone(&dropped));
    // Not a scoped thread, which would have to be joined: a source may never answer.
    started(
        Stage::Capture,
        Builder::new().name(Stage::Capture.name().into()).spawn(move || {
            capture(source, &sources_inbox, &sources_drops);
            drop(running);
        }),
    )?;

    let ended = std::thread::scope(|scope| {
        // Leaving this closure closes the inbox and all channels, which ends all threads.
        let _closing = Closing(&inbox);
        let (credits, free) = bounded(jobs);
        for _ in 0..jobs {
            let _ = credits.send(Box::new(Job::new(output.wants_windows())));
        }
        let thread = |stages: Vec<(Stage, StageFn<'a>)>, input, together, send: Sender<Message>| {
            let first = stages[0].0;
            let thread = Builder::new().name(first.name().into());
            started(first, thread.spawn_scoped(scope, move || run_stages(stages, input, together, &send))).map(drop)
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
                let stages = group.stages.iter().map(|s| (*s, stage(*s))).collect();
                thread(stages, input, group.together, send.clone())?;
            }
            inputs.push(match group.workers {
                1 => Input::Channel(receive),
                _ => Input::Ordered { input: receive, next: 0, early: BTreeMap::new() },
            });
        }
        let Some(Input::Channel(results)) = inputs.pop() else { unreachable!("a single thread follows faces") };
        present(&results, &credits, &inbox, &dropped, &options.stop, output)
    });
    let _ = source_ended.recv_timeout(END_TIMEOUT);
    ended
}

/// Turns a failure to start the thread of `stage` into an error that names the stage.
fn started<T>(stage: Stage, thread: std::io::Result<T>) -> Result<T> {
    let fail = |e| Error::Backend(format!("its thread could not be started: {e}"));
    guarded(stage, || thread.map_err(fail))
}

/// What a thread does: runs its stages on frame after frame, and sends the frames on. Of frames that are there already, up
/// to `together` are worked on at once.
fn run_stages(mut stages: Vec<(Stage, StageFn<'_>)>, mut input: Input, together: usize, output: &Sender<Message>) {
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
        if let Err(e) = run_once(&mut stages, &mut jobs) {
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

/// Runs all stages of a thread on some frames, and notes the times.
fn run_once(stages: &mut [(Stage, StageFn<'_>)], jobs: &mut [Box<Job>]) -> std::result::Result<(), Failure> {
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

/// The output stage, on the caller's thread: hands the results to `output`; their jobs become credits for new frames.
/// `at_source` is the number of frames that the source has dropped.
fn present(
    results: &Receiver<Message>,
    credits: &Sender<Box<Job>>,
    inbox: &Inbox,
    at_source: &AtomicU64,
    stop: &AtomicBool,
    output: &mut dyn Output,
) -> Result<Summary> {
    let mut summary = Summary::default();
    let mut first = None;
    let dropped = || at_source.load(Ordering::Relaxed) + inbox.replaced();
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
