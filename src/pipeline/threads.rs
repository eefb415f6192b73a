//! Which thread does what: stages are put on as many threads as there are cores for them, and the caller's thread
//! presents what comes out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::channels::{Capture, Entry, Failure, Input, Message, Shared, guarded};
use super::stages::{Job, Step};
use super::{Output, PipelineOptions, Policy, Stage, StageTime, Summary};
use crate::error::{Error, Result};
use crate::source::Source;

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

/// Runs the stages, whose work `step` gives for each thread.
pub(super) fn run<'a>(
    source: Box<dyn Source>,
    step: &dyn Fn(Stage) -> Step<'a>,
    options: &PipelineOptions,
    output: &mut dyn Output,
) -> Result<Summary> {
    let policy = options.policy;
    let groups = groups(policy, options.threads);
    let jobs = in_flight(policy, &groups);
    let live = matches!(policy, Policy::Live { .. });
    let shared = Arc::new(Shared::default());

    let (free_send, free) = bounded(jobs);
    for _ in 0..jobs {
        let _ = free_send.send(Box::new(Job::new()));
    }
    // Of a file, as many wait decoded as are taken at once.
    let read_ahead = groups[0].together.max(if live { 1 } else { READ_AHEAD });
    let (captured, frames) = bounded(read_ahead);
    let (spare_send, spare) = bounded(jobs + read_ahead + 1);
    let (quit_send, quit) = bounded(0);
    let (farewell, has_left) = bounded::<()>(0);

    let capture = Capture {
        output: captured,
        late: live.then(|| frames.clone()),
        spare,
        shared: Arc::clone(&shared),
        stop: Arc::clone(&options.stop),
    };
    spawn_failed(
        Stage::Capture,
        Builder::new().name("capture".into()).spawn(move || {
            capture.run(source);
            drop(farewell);
        }),
    )?;

    let ended = std::thread::scope(|scope| {
        let entry = |_| {
            let (free, frames, quit, spare) = (free.clone(), frames.clone(), quit.clone(), spare_send.clone());
            Input::Entry(Entry { free, frames, quit, spare, credit: None })
        };
        let mut inputs: Vec<_> = (0..groups[0].workers).map(entry).collect();
        // Where all their ends are closed, threads end.
        drop((free, frames, quit, spare_send));
        let mut last = None;
        for (i, group) in groups.iter().enumerate() {
            let (send, receive) = bounded(jobs);
            for input in inputs.drain(..) {
                let steps: Vec<_> = group.stages.iter().map(|stage| (*stage, step(*stage))).collect();
                let begin = step(Stage::Capture);
                let send = send.clone();
                let thread = Builder::new().name(group.stages[0].name().into());
                spawn_failed(
                    group.stages[0],
                    thread.spawn_scoped(scope, move || work(steps, begin, input, group.together, &send)),
                )?;
            }
            if i + 1 == groups.len() {
                last = Some(receive);
            } else if group.workers > 1 {
                inputs.push(Input::Ordered { input: receive, next: 0, early: BTreeMap::new() });
            } else {
                inputs.push(Input::Channel(receive));
            }
        }
        match last {
            Some(results) => present(results, free_send, quit_send, options, &shared, output),
            None => Ok(Summary::default()),
        }
    });
    shared.ended.store(true, Ordering::Relaxed);
    let _ = has_left.recv_timeout(FAREWELL);
    ended
}

fn spawn_failed<T>(stage: Stage, thread: std::io::Result<T>) -> Result<T> {
    let fail = |e| Error::Backend(format!("no thread could be started for it: {e}"));
    guarded(stage, || thread.map_err(fail))
}

/// A thread: does its stages with frame after frame, of those that are there already up to `together` at once. Where the
/// frames before said so ([`Job::ahead`]), it first takes the next ones, if they are there, and begins with them.
fn work(
    mut steps: Vec<(Stage, Step<'_>)>,
    mut begin: Step<'_>,
    mut input: Input,
    together: usize,
    output: &Sender<Message>,
) {
    let mut jobs = Vec::with_capacity(together);
    let mut begun = VecDeque::new();
    let mut ahead = false;
    while let Some(first) = begun.pop_front().or_else(|| input.next()) {
        let mut failure = None;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Ok(job) => jobs.push(job),
                Err(e) => failure = Some(e),
            }
            let more = failure.is_none() && jobs.len() < together;
            next = if more { begun.pop_front().or_else(|| input.next_if_there()) } else { None };
        }
        while ahead && failure.is_none() && begun.len() < together && begun.back().is_none_or(|m: &Message| m.is_ok()) {
            let Some(message) = input.next_if_there() else { break };
            begun.push_back(message.and_then(|mut job| {
                let number = job.result.frame.number;
                let begin = || begin(std::slice::from_mut(&mut job));
                guarded(Stage::Pyramid, begin).map_err(|error| Failure { number, error })?;
                Ok(job)
            }));
        }
        if let Err(e) = through(&mut steps, &mut jobs) {
            jobs.clear();
            failure = Some(e);
        }
        ahead = jobs.iter().any(|job| job.ahead);
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

fn through(steps: &mut [(Stage, Step<'_>)], jobs: &mut [Box<Job>]) -> std::result::Result<(), Failure> {
    let Some(number) = jobs.first().map(|job| job.result.frame.number) else { return Ok(()) };
    for (stage, step) in steps {
        let begin = Instant::now();
        guarded(*stage, || step(jobs)).map_err(|error| Failure { number, error })?;
        let now = Instant::now();
        let share = (now - begin) / jobs.len() as u32;
        for job in jobs.iter_mut() {
            note(job, *stage, share, now);
        }
    }
    Ok(())
}

/// Notes that `stage` ended `now` and took `work` of the time since the one before; the rest was waiting.
fn note(job: &mut Job, stage: Stage, work: Duration, now: Instant) {
    let wait = now.saturating_duration_since(job.since).saturating_sub(work);
    job.result.stages[stage as usize] = StageTime { work, wait };
    job.since = now;
}

/// The last stage, on the caller's thread. When it returns, both ends close, and all other threads end.
fn present(
    results: Receiver<Message>,
    free: Sender<Box<Job>>,
    quit: Sender<()>,
    options: &PipelineOptions,
    shared: &Shared,
    output: &mut dyn Output,
) -> Result<Summary> {
    let mut summary = Summary::default();
    let mut first = None;
    let mut quit = Some(quit);
    loop {
        if options.stop.load(Ordering::Relaxed) {
            quit = None;
        }
        let flow = match results.recv_timeout(TICK) {
            Ok(Ok(mut job)) => {
                let begin = Instant::now();
                job.result.dropped = shared.dropped.load(Ordering::Relaxed);
                // The output may take the frame.
                let captured = job.result.frame.captured;
                let flow = guarded(Stage::Output, || output.frame(&mut job.result))?;
                let now = Instant::now();
                note(&mut job, Stage::Output, now - begin, now);
                summary.frames += 1;
                output.presented(&job.result.stages, job.since.saturating_duration_since(captured));
                summary.elapsed = job.since.saturating_duration_since(*first.get_or_insert(captured));
                let _ = free.try_send(job);
                flow
            }
            Ok(Err(failure)) => return Err(failure.error),
            Err(RecvTimeoutError::Timeout) => guarded(Stage::Output, || output.idle())?,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if flow.is_break() {
            break;
        }
    }
    drop(quit);
    summary.dropped = shared.dropped.load(Ordering::Relaxed);
    Ok(summary)
}
