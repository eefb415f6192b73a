//! Which faces are covered: ids, regions, the records of an earlier run.

use std::collections::HashSet;
use std::path::PathBuf;

use facecascade::Rect;
use facecascade::files::same_file;
use facecascade::track::Tracked;

use super::super::usage;
use super::targets::Job;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ChoiceArgs {
    /// Cover only the faces of these ids, as --json and --review name them
    #[arg(long, value_name = "ID,…", value_delimiter = ',', requires = "redact", conflicts_with = "except")]
    pub(super) only: Vec<u64>,
    /// Cover all faces but those of these ids
    #[arg(long, value_name = "ID,…", value_delimiter = ',', requires = "redact")]
    pub(super) except: Vec<u64>,
    /// Search for nothing: cover the faces in this file, the --json of an earlier --redact run, edited or not
    #[arg(long, value_name = "FILE.jsonl", requires = "redact")]
    pub(super) faces: Option<PathBuf>,
    /// Always cover this region (pixels; with @FROM-TO only between these seconds); may be given several times
    #[arg(long, value_name = "X,Y,W,H[@FROM-TO]", value_parser = region, requires = "redact")]
    cover_region: Vec<Region>,
    /// Never cover faces whose middle lies in this region
    #[arg(long, value_name = "X,Y,W,H[@FROM-TO]", value_parser = region, requires = "redact")]
    keep_region: Vec<Region>,
    /// Write a page with pictures of every face that is followed, to look through and choose ids
    #[arg(long, value_name = "OUT.html", requires = "redact")]
    pub(super) review: Option<PathBuf>,
}

/// What belongs to one film is refused for several.
///
/// # Errors
/// One of the command line, if several videos share a choice of ids, records or a page, or the page is a file that is read or
/// written otherwise.
pub(super) fn check(args: &ChoiceArgs, jobs: &[Job]) -> anyhow::Result<()> {
    let given = [
        ("--only", !args.only.is_empty()),
        ("--except", !args.except.is_empty()),
        ("--faces", args.faces.is_some()),
        ("--review", args.review.is_some()),
    ];
    if let Some((name, _)) = given.iter().find(|(_, given)| *given).filter(|_| jobs.len() > 1) {
        return Err(usage(&format!("{name}: is for one video at a time; its faces are numbered from 1")));
    }
    let Some(job) = jobs.first() else { return Ok(()) };
    let others =
        [Some(&job.input), job.video.as_ref().map(|target| &target.path), job.json.as_ref(), args.faces.as_ref()];
    for (option, path) in [("--review", &args.review), ("--json", &job.json)] {
        let Some(path) = path else { continue };
        let clash = others
            .iter()
            .flatten()
            .any(|other| !std::ptr::eq(*other, path) && (*other == path || same_file(other, path)));
        if clash {
            return Err(usage(&format!("{option} {}: is named for something else too", path.display())));
        }
    }
    if let Some(job) =
        args.faces.as_ref().and_then(|faces| job.video.as_ref().filter(|video| same_file(&video.path, faces)))
    {
        return Err(usage(&format!("{}: would overwrite the records that are read", job.path.display())));
    }
    Ok(())
}

/// The command line of this run without its choice of ids, as a shell takes it.
pub(super) fn command() -> String {
    without_ids(std::env::args_os().map(|word| word.to_string_lossy().into_owned()))
}

fn without_ids(words: impl IntoIterator<Item = String>) -> String {
    let mut kept = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--only" | "--except" => drop(words.next()),
            w if w.starts_with("--only=") || w.starts_with("--except=") => {}
            _ => kept.push(quoted(&word)),
        }
    }
    kept.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// A part of the picture during a part of the film.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Region {
    rect: Rect,
    from: f64,
    to: f64,
}

/// `x,y,w,h` in pixels, `@from-to` in seconds; either may be left out.
fn region(text: &str) -> Result<Region, String> {
    let (place, time) = text.split_once('@').unwrap_or((text, "-"));
    let numbers: Vec<f32> = place.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let [x, y, w, h] = numbers[..] else { return Err("must be X,Y,W,H in pixels, e.g. 10,20,300,200@1.5-4".into()) };
    let rect = Rect::new(x, y, w, h);
    if ![x, y, w, h].iter().all(|v| v.is_finite()) || w <= 0.0 || h <= 0.0 {
        return Err("must have a width and a height over 0".into());
    }
    let wrong = || "times must be @FROM-TO in seconds, e.g. @1.5-4, @10- or @-3".to_owned();
    let (from, to) = time.split_once('-').ok_or_else(wrong)?;
    let second = |text: &str, otherwise: f64| match text.trim() {
        "" => Ok(otherwise),
        text => text.parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(wrong),
    };
    let (from, to) = (second(from, 0.0)?, second(to, f64::INFINITY)?);
    if to < from { Err(wrong()) } else { Ok(Region { rect, from, to }) }
}

/// [`ChoiceArgs`], ready to be asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Choice {
    only: Option<HashSet<u64>>,
    except: HashSet<u64>,
    cover: Vec<Region>,
    keep: Vec<Region>,
}

impl Choice {
    pub(super) fn new(args: &ChoiceArgs) -> Self {
        Self {
            only: (!args.only.is_empty()).then(|| args.only.iter().copied().collect()),
            except: args.except.iter().copied().collect(),
            cover: args.cover_region.clone(),
            keep: args.keep_region.clone(),
        }
    }

    /// Whether the face of this id is to be covered.
    pub(super) fn takes(&self, id: u64) -> bool {
        !self.except.contains(&id) && self.only.as_ref().is_none_or(|only| only.contains(&id))
    }

    /// Leaves the faces that are to be covered at `seconds`, and gives the regions that are to be.
    pub(super) fn apply(&self, seconds: f64, faces: &mut Vec<Tracked>) -> Vec<Rect> {
        let now = |region: &&Region| (region.from..=region.to).contains(&seconds);
        faces.retain(|t| {
            let (cx, cy) = t.face.rect.center();
            let within = |r: &Rect| (r.x..=r.x + r.w).contains(&cx) && (r.y..=r.y + r.h).contains(&cy);
            self.takes(t.id) && !self.keep.iter().filter(now).any(|region| within(&region.rect))
        });
        self.cover.iter().filter(now).map(|region| region.rect).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use facecascade::Face;
    use facecascade::track::Basis;

    #[test]
    fn a_region_is_read_with_and_without_its_time() {
        let of = |from, to| Ok(Region { rect: Rect::new(1.0, 2.0, 30.0, 4.5), from, to });
        assert_eq!(region("1,2,30,4.5"), of(0.0, f64::INFINITY));
        assert_eq!(region("1, 2, 30, 4.5@1.5-4"), of(1.5, 4.0));
        assert_eq!(region("1,2,30,4.5@3-"), of(3.0, f64::INFINITY));
        assert_eq!(region("1,2,30,4.5@-3"), of(0.0, 3.0));
        for wrong in
            ["", "1,2,3", "1,2,3,4,5", "1,2,0,4", "1,2,3,nan", "1,2,3,4@", "1,2,3,4@5", "1,2,3,4@4-1", "1,2,3,4@a-b"]
        {
            assert!(region(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_is_given_again_without_its_choice_of_ids() {
        let words = ["facecascade", "video", "a b's.mp4", "--only", "1,2", "--redact", "solid", "--except=3"];
        let again = without_ids(words.map(str::to_owned));
        assert_eq!(again, r"facecascade video 'a b'\''s.mp4' --redact solid");
    }

    #[test]
    fn ids_and_regions_choose_what_is_covered() {
        let face = |id, x| {
            let rect = Rect::new(x, 0.0, 10.0, 10.0);
            Tracked {
                id,
                face: Face { rect, score: 0.5, smile: None },
                smiling: None,
                basis: Basis::Guess,
                shown: true,
            }
        };
        let ids = |choice: &Choice, seconds: f64| {
            let mut faces = vec![face(1, 0.0), face(2, 50.0), face(3, 100.0)];
            let regions = choice.apply(seconds, &mut faces);
            (faces.iter().map(|t| t.id).collect::<Vec<_>>(), regions.len())
        };
        assert_eq!(ids(&Choice::default(), 0.0), (vec![1, 2, 3], 0));
        assert_eq!(ids(&Choice { only: Some([2].into()), ..Choice::default() }, 0.0), (vec![2], 0));
        assert_eq!(ids(&Choice { except: [2].into(), ..Choice::default() }, 0.0), (vec![1, 3], 0));
        let there = vec![region("40,0,30,10@1-2").unwrap()];
        let keep = Choice { keep: there.clone(), ..Choice::default() };
        assert_eq!((ids(&keep, 1.5), ids(&keep, 2.5)), ((vec![1, 3], 0), (vec![1, 2, 3], 0)));
        assert_eq!(ids(&Choice { cover: there, ..Choice::default() }, 1.0), (vec![1, 2, 3], 1));
    }
}
