//! What happens to the frames of one video once they are searched: faces are followed with a look ahead, frames wait until
//! it is known what is in them, then their records are written and a thread draws into them and encodes them.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::time::Instant;

use facecascade::files::TempTarget;
use facecascade::output::redact::Redactor;
use facecascade::output::times::Times;
use facecascade::output::writer::{WriteTimes, Writer};
use facecascade::output::{draw, overlay, records};
use facecascade::pipeline::{FrameResult, Output, STAGES};
use facecascade::source::square::Stored;
use facecascade::track::lookahead::Lookahead;
use facecascade::track::{Basis, Tracked};
use facecascade::{Error, Face, Rect, Result};
use image::RgbImage;
use indicatif::ProgressBar;

/// What is in a frame: faces found in it alone, or faces that are followed.
#[derive(Debug)]
pub(super) enum Marks {
    Found(Vec<Face>),
    Followed(Vec<Tracked>),
}

impl Marks {
    /// From square pixels to stored ones, which are `w` × `h` of them.
    fn squeeze(&mut self, (w, h): (f64, f64)) {
        let (w, h) = (w as f32, h as f32);
        let squeeze = |rect: &mut Rect| *rect = Rect::new(rect.x / w, rect.y / h, rect.w / w, rect.h / h);
        match self {
            Self::Found(faces) => faces.iter_mut().for_each(|face| squeeze(&mut face.rect)),
            Self::Followed(tracked) => tracked.iter_mut().for_each(|tracked| {
                squeeze(&mut tracked.face.rect);
                if let Basis::Seen(found) = &mut tracked.basis {
                    squeeze(found);
                }
            }),
        }
    }
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
    pub(super) stages: [Times; STAGES],
    /// All that searching a frame takes.
    pub(super) search: Times,
    pub(super) track: Times,
    pub(super) write: WriteTimes,
}

/// The output of the pipeline for one video.
pub(super) struct Film {
    /// Where pixels are not square: the frames as they are stored. Those that are searched are stretched.
    stored: Option<Stored>,
    ahead: Option<Lookahead>,
    held: VecDeque<Held>,
    writer: Option<Writer<Marks>>,
    records: Option<Records>,
    bar: ProgressBar,
    tally: Tally,
}

impl Film {
    pub(super) fn new(
        follow: bool,
        stored: Option<Stored>,
        writer: Option<Writer<Marks>>,
        records: Option<Records>,
        bar: ProgressBar,
    ) -> Self {
        let tally = Tally { ids: follow.then(HashSet::new), ..Tally::default() };
        Self { stored, ahead: follow.then(Lookahead::default), held: VecDeque::new(), writer, records, bar, tally }
    }

    /// Ends the files: `early` if the video would have gone on. Frames that wait still get into them.
    pub(super) fn finish(mut self, early: bool) -> (Tally, Result<()>) {
        let mut result = Ok(());
        while let Some(tracked) = self.ahead.as_mut().and_then(Lookahead::flush) {
            result = result.and(self.next(Marks::Followed(tracked)));
        }
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
        (self.tally, result)
    }

    /// It is known what is in the oldest frame that waits.
    fn next(&mut self, mut marks: Marks) -> Result<()> {
        if let Some(stored) = &self.stored {
            marks.squeeze(stored.stretch());
        }
        let Some(Held { seconds, picture }) = self.held.pop_front() else { return Ok(()) };
        let number = self.tally.frames;
        if let Some(records) = &mut self.records {
            records.line(&match &marks {
                Marks::Found(faces) => records::frame(number, seconds, faces),
                Marks::Followed(tracked) => records::tracked(number, seconds, tracked),
            })?;
        }
        self.tally.frames += 1;
        match &marks {
            Marks::Found(faces) => self.tally.boxes += faces.len() as u64,
            Marks::Followed(tracked) => {
                let shown = tracked.iter().filter(|t| t.shown).map(|t| t.id);
                self.tally.boxes += shown.clone().count() as u64;
                self.tally.ids.get_or_insert_default().extend(shown);
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
        let picture = match &self.writer {
            Some(writer) if let Some(stored) = &self.stored => stored.next(writer.buffer()).unwrap_or_default(),
            Some(writer) => std::mem::replace(&mut result.frame.picture, writer.buffer()),
            None => RgbImage::default(),
        };
        self.held.push_back(Held { seconds, picture });
        match &mut self.ahead {
            Some(ahead) => {
                let begin = Instant::now();
                let known = ahead.push(&result.faces, seconds);
                self.tally.track.note(begin.elapsed());
                known.map_or(Ok(()), |tracked| self.next(Marks::Followed(tracked)))?;
            }
            None => self.next(Marks::Found(std::mem::take(&mut result.faces)))?,
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// What the writing thread does with each frame.
pub(super) fn painter(mut redactor: Option<Redactor>, boxes: bool) -> impl FnMut(&mut RgbImage, Marks) + Send {
    move |picture, marks| match marks {
        Marks::Found(faces) => draw::faces(picture, &faces),
        Marks::Followed(tracked) => {
            if let Some(redactor) = &mut redactor {
                redactor.cover(picture, &tracked);
            }
            if boxes {
                overlay::tracked(picture, &tracked);
            }
        }
    }
}
