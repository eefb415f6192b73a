//! What happens to the frames of one video once they are searched: faces are followed with a look ahead, frames wait until
//! it is known what is in them, then their records are written and a thread draws into them and encodes them.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::time::Instant;

use facecascade::files::TempTarget;
use facecascade::output::redact::Redactor;
use facecascade::output::review::Review;
use facecascade::output::times::Times;
use facecascade::output::writer::{WriteTimes, Writer};
use facecascade::output::{draw, overlay, records};
use facecascade::pipeline::{FrameResult, Output, STAGES};
use facecascade::smile::{SmileLog, Smiled};
use facecascade::source::square::Stored;
use facecascade::track::coverage::{Coverage, Known};
use facecascade::track::lookahead::Lookahead;
use facecascade::track::{Basis, Tracked};
use facecascade::{Error, Face, Rect, Result};
use image::RgbImage;
use indicatif::ProgressBar;

use super::choice::Choice;

/// What is in a frame: faces found in it alone, faces that are followed, or faces and regions that are covered.
#[derive(Debug)]
pub(super) enum Marks {
    Found(Vec<Face>),
    Followed(Vec<Tracked>),
    Covered(Vec<Tracked>, Vec<Rect>),
}

impl Marks {
    /// From square pixels to stored ones, which are `w` × `h` of them.
    fn squeeze(&mut self, (w, h): (f64, f64)) {
        match self {
            Self::Found(faces) => faces.iter_mut().for_each(|face| squeeze(&mut face.rect, (w, h))),
            Self::Followed(tracked) | Self::Covered(tracked, _) => squeeze_tracked(tracked, (w, h)),
        }
    }
}

fn squeeze_tracked(tracked: &mut [Tracked], shape: (f64, f64)) {
    for tracked in tracked {
        squeeze(&mut tracked.face.rect, shape);
        if let Basis::Seen(found) = &mut tracked.basis {
            squeeze(found, shape);
        }
    }
}

fn squeeze(rect: &mut Rect, (w, h): (f64, f64)) {
    let (w, h) = (w as f32, h as f32);
    *rect = Rect::new(rect.x / w, rect.y / h, rect.w / w, rect.h / h);
}

/// How faces are followed.
#[derive(Debug)]
pub(super) enum Follow {
    /// Not at all.
    Not,
    /// To draw boxes.
    Ahead(Lookahead),
    /// To cover them.
    Cover(Box<Coverage>),
}

/// A frame that waits; without a video to write, only its time does.
#[derive(Debug)]
struct Held {
    seconds: f64,
    picture: RgbImage,
}

/// JSON lines under way.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) target: TempTarget,
    pub(super) file: BufWriter<File>,
}

impl Records {
    pub(super) fn line(&mut self, line: &str) -> Result<()> {
        writeln!(self.file, "{line}").map_err(Error::io(self.target.target()))
    }
}

/// What was done, and how long each part took for each frame.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) frames: u64,
    pub(super) boxes: u64,
    /// Faces that were followed; `None` if none are.
    pub(super) ids: Option<HashSet<u64>>,
    /// How long the faces that were followed smiled; empty if smiles are not told.
    pub(super) smiles: Vec<(u64, Smiled)>,
    pub(super) stages: [Times; STAGES],
    /// All that searching a frame takes.
    pub(super) search: Times,
    pub(super) track: Times,
    pub(super) write: WriteTimes,
    /// The page of all faces, if one is wanted.
    pub(super) review: Option<Review>,
}

/// The output of the pipeline for one video.
pub(super) struct Film {
    follow: Follow,
    /// Where pixels are not square: the frames as they are stored. Those that are searched are stretched.
    stored: Option<Stored>,
    choice: Choice,
    review: Option<Review>,
    /// Without a video to write or faces to cover, only the time of a frame is held.
    held: VecDeque<Held>,
    writer: Option<Writer<Marks>>,
    records: Option<Records>,
    bar: ProgressBar,
    tally: Tally,
    smiles: SmileLog,
}

impl Film {
    pub(super) fn new(
        follow: Follow,
        stored: Option<Stored>,
        writer: Option<Writer<Marks>>,
        records: Option<Records>,
        bar: ProgressBar,
    ) -> Self {
        let ids = (!matches!(follow, Follow::Not)).then(HashSet::new);
        let tally = Tally { ids, ..Tally::default() };
        let (choice, review, held) = (Choice::default(), None, VecDeque::new());
        Self { follow, stored, choice, review, held, writer, records, bar, tally, smiles: SmileLog::default() }
    }

    /// Which faces are covered, and the page that shows them all, if one is wanted.
    pub(super) fn choose(mut self, choice: Choice, review: Option<Review>) -> Self {
        (self.choice, self.review) = (choice, review);
        self
    }

    /// Hands on the frames that still wait.
    pub(super) fn flush(&mut self) -> Result<()> {
        let mut result = Ok(());
        while let Follow::Ahead(ahead) = &mut self.follow
            && let Some(tracked) = ahead.flush()
        {
            result = result.and(self.next(Marks::Followed(tracked)));
        }
        while let Follow::Cover(coverage) = &mut self.follow
            && let Some(known) = coverage.flush()
        {
            result = result.and(self.cover(known));
        }
        result
    }

    /// Ends the files: `early` if the video would have gone on. Frames that wait still get into them.
    pub(super) fn finish(mut self, early: bool) -> (Tally, Result<()>) {
        let mut result = self.flush();
        self.tally.review = self.review.take();
        if let Some(writer) = self.writer.take() {
            match writer.finish(early) {
                Ok((_, times)) => self.tally.write = times,
                Err(e) => result = result.and(Err(e)),
            }
        }
        if let Some(Records { target, mut file }) = self.records.take() {
            let flushed = file.flush().map_err(Error::io(target.target()));
            drop(file);
            // Without any frame, there is nothing that would be worth an earlier run's records.
            let committed = if self.tally.frames > 0 { target.commit() } else { Ok(()) };
            result = result.and(flushed).and(committed);
        }
        self.tally.smiles = self.smiles.finish();
        (self.tally, result)
    }

    /// Hands on the oldest frame that waits: it is known what is in it.
    fn next(&mut self, mut marks: Marks) -> Result<()> {
        let Some(Held { seconds, picture }) = self.held.pop_front() else { return Ok(()) };
        if let Some(stored) = &self.stored {
            marks.squeeze(stored.stretch());
        }
        self.give(picture, seconds, marks)
    }

    /// Hands on a frame of which it is known what may have to be covered.
    pub(super) fn cover(&mut self, known: Known) -> Result<()> {
        let Known { seconds, mut picture, mut faces } = known;
        if let Some(review) = &mut self.review {
            review.frame(&picture, seconds, &faces);
        }
        if let Some(stored) = &self.stored {
            picture = stored.next(picture).unwrap_or_default();
            squeeze_tracked(&mut faces, stored.stretch());
        }
        let regions = self.choice.apply(seconds, &mut faces);
        self.give(picture, seconds, Marks::Covered(faces, regions))
    }

    fn give(&mut self, picture: RgbImage, seconds: f64, marks: Marks) -> Result<()> {
        let number = self.tally.frames;
        if let Some(records) = &mut self.records {
            records.line(&match &marks {
                Marks::Found(faces) => records::frame(number, seconds, faces),
                Marks::Followed(tracked) | Marks::Covered(tracked, _) => records::tracked(number, seconds, tracked),
            })?;
        }
        self.tally.frames += 1;
        match &marks {
            Marks::Found(faces) => self.tally.boxes += faces.len() as u64,
            Marks::Followed(tracked) | Marks::Covered(tracked, _) => {
                let shown = tracked.iter().filter(|t| t.shown).map(|t| t.id);
                self.tally.boxes += shown.clone().count() as u64;
                self.tally.ids.get_or_insert_default().extend(shown);
                let shown = tracked.iter().filter(|t| t.shown);
                self.smiles.push(shown.filter_map(|t| Some((t.id, t.smiling?))), seconds);
            }
        }
        self.bar.inc(1);
        match &mut self.writer {
            Some(writer) => writer.send(picture, seconds, marks),
            None => Ok(()),
        }
    }
}

impl Output for Film {
    fn frame(&mut self, result: &mut FrameResult) -> Result<ControlFlow<()>> {
        for (times, stage) in self.tally.stages.iter_mut().zip(&result.stages) {
            times.note(stage.work);
        }
        self.tally.search.note(result.search_time());
        let seconds = result.frame.time;
        let picture = match (&self.writer, &self.stored) {
            // To cover faces, they are compared in square pixels; the stored frame is fetched at the end.
            (Some(_), Some(_)) if matches!(self.follow, Follow::Cover(_)) => std::mem::take(&mut result.frame.picture),
            (Some(writer), Some(stored)) => stored.next(writer.buffer()).unwrap_or_default(),
            (Some(writer), None) => std::mem::replace(&mut result.frame.picture, writer.buffer()),
            (None, _) => RgbImage::default(),
        };
        let begin = Instant::now();
        match &mut self.follow {
            Follow::Cover(coverage) => {
                coverage.push(picture, seconds, &result.faces);
                self.tally.track.note(begin.elapsed());
                while let Follow::Cover(coverage) = &mut self.follow
                    && let Some(known) = coverage.ready()
                {
                    self.cover(known)?;
                }
            }
            Follow::Ahead(ahead) => {
                self.held.push_back(Held { seconds, picture });
                let known = ahead.push(&result.faces, seconds);
                self.tally.track.note(begin.elapsed());
                known.map_or(Ok(()), |tracked| self.next(Marks::Followed(tracked)))?;
            }
            Follow::Not => {
                self.held.push_back(Held { seconds, picture });
                self.next(Marks::Found(std::mem::take(&mut result.faces)))?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// What the writing thread does with each frame.
pub(super) fn painter(mut redactor: Option<Redactor>, boxes: bool) -> impl FnMut(&mut RgbImage, Marks) + Send {
    move |picture, marks| match marks {
        Marks::Found(faces) => draw::faces(picture, &faces),
        Marks::Followed(tracked) => overlay::tracked(picture, &tracked),
        Marks::Covered(tracked, regions) => {
            if let Some(redactor) = &mut redactor {
                redactor.cover(picture, &tracked);
                regions.iter().for_each(|region| redactor.cover_region(picture, region));
            }
            if boxes {
                overlay::tracked(picture, &tracked);
            }
        }
    }
}
