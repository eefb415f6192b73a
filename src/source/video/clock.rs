//! When frames are shown: the times that ffmpeg's decoder gives them, one by one.
//!
//! Nothing is counted: a file's header may state a rate that its frames do not keep, and a start that none has.

use super::probe::Rate;

/// The least time between two frames, seconds: with less, some containers would show both at once.
const LEAST_STEP: f64 = 1e-4;
/// A time that lies further back than this is not a rounding but a new start: of recordings joined, or a camera's clock.
const NEW_START: f64 = 0.1;
/// The rate in the header may correct a time by so much of a frame at most.
const MOST_CORRECTION: f64 = 0.1;

/// A frame's time as told, and how finely the container tells it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Told {
    /// Seconds; `None` if the container does not say.
    pub(super) seconds: Option<f64>,
    /// Seconds between two times that the container can tell apart.
    pub(super) tick: f64,
}

/// Reads what ffmpeg's filter `showinfo` writes to stderr.
#[derive(Debug, Default)]
pub(super) struct ShowInfo {
    tick: f64,
}

impl ShowInfo {
    /// The time in `line`, if it is about a frame. (`pts_time` in the same line has six digits only: too few for a long file.)
    pub(super) fn read(&mut self, line: &str) -> Option<Told> {
        if !line.contains("showinfo") {
            return None;
        }
        let after = |key: &str| Some(line.split_once(key)?.1.trim_start());
        if let Some(base) = after(" config in time_base:") {
            let base = base.split([',', ' ']).next().and_then(|base| base.split_once('/'));
            if let Some((Ok(n), Ok(d))) = base.map(|(n, d)| (n.parse::<f64>(), d.parse::<f64>())) {
                self.tick = n / d;
            }
            return None;
        }
        let pts = after(" pts:")?.split(' ').next()?;
        let seconds = pts.parse::<i64>().ok().map(|pts| pts as f64 * self.tick);
        Some(Told { seconds, tick: self.tick })
    }
}

/// Makes times that grow from those told.
#[derive(Debug)]
pub(super) struct Clock {
    rate: f64,
    /// Seconds that are added since the last new start.
    moved: f64,
    first: Option<f64>,
    last: Option<f64>,
}

impl Clock {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate: rate.per_second(), moved: 0.0, first: None, last: None }
    }

    /// The time of the next frame, seconds from the file's start.
    pub(super) fn next(&mut self, told: Option<Told>) -> f64 {
        let step = 1.0 / self.rate;
        let next = self.last.map_or(0.0, |last| last + step);
        let time = match told {
            Some(Told { seconds: Some(seconds), tick }) => {
                if self.last.is_some_and(|last| seconds + self.moved < last - NEW_START.max(step)) {
                    self.moved = next - seconds;
                }
                self.unrounded(seconds + self.moved, tick)
            }
            // Only where neither container nor decoder knows better.
            _ => next,
        };
        let time = self.last.map_or(time, |last| time.max(last + LEAST_STEP));
        self.first.get_or_insert(time);
        self.last = Some(time);
        time
    }

    /// A container that rounds times, to milliseconds for instance, hides that they are regular. Where the time at the header's
    /// rate is the same but for that rounding, it is taken.
    fn unrounded(&self, time: f64, tick: f64) -> f64 {
        let Some(first) = self.first else { return time };
        let regular = first + ((time - first) * self.rate).round() / self.rate;
        let within = (tick * 1.001).min(MOST_CORRECTION / self.rate);
        if (regular - time).abs() <= within { regular } else { time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(frames: u32, seconds: u32) -> Clock {
        Clock::new(Rate { frames, seconds })
    }

    fn times(clock: &mut Clock, tick: f64, told: &[f64]) -> Vec<f64> {
        told.iter().map(|t| clock.next(Some(Told { seconds: Some(*t), tick }))).collect()
    }

    #[test]
    fn lines_of_showinfo_give_times_of_any_length_to_the_tick() {
        let mut lines = ShowInfo::default();
        assert_eq!(lines.read("[Parsed_showinfo_0 @ 0x1] [info] config in time_base: 1/12800, frame_rate: 25/1"), None);
        assert_eq!(lines.read("[info] Stream #0:0: Video pts:"), None);
        let line = "[Parsed_showinfo_0 @ 0x1] [info] n:   1 pts:921600512 pts_time:72000 pos: 1 fmt:yuv420p";
        let told = lines.read(line).unwrap();
        assert!((told.seconds.unwrap() - 72000.04).abs() < 1e-9 && told.tick == 1.0 / 12800.0, "{told:?}");
        let line = "[Parsed_showinfo_0 @ 0x1] [info] n:   2 pts: NOPTS pts_time:NOPTS   pos: 1";
        assert_eq!(lines.read(line), Some(Told { seconds: None, tick: 1.0 / 12800.0 }));
        assert_eq!(
            lines.read("[Parsed_showinfo_0 @ 0x1] [info] n: 3 pts: -90 pts_time:-1").unwrap().seconds,
            Some(-90.0 / 12800.0)
        );
    }

    #[test]
    fn regular_times_lose_the_containers_rounding_and_pauses_stay() {
        let got = times(&mut clock(30, 1), 1e-3, &[0.0, 0.033, 0.067, 0.1, 0.8, 0.833]);
        let want = [0.0, 1.0 / 30.0, 2.0 / 30.0, 0.1, 0.8, 25.0 / 30.0];
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-9), "{got:?}");
    }

    #[test]
    fn times_that_do_not_keep_the_headers_rate_are_left_as_they_are() {
        let told = [0.0, 0.04, 0.055, 0.13, 7.001, 7.02];
        assert_eq!(times(&mut clock(30, 1), 1.0 / 90_000.0, &told), told);
        // The header is wrong: 30 frames a second instead of 25.
        let told: Vec<f64> = (0..100).map(|i| f64::from(i) / 25.0).collect();
        let got = times(&mut clock(30, 1), 1e-3, &told);
        assert!(got.iter().zip(&told).all(|(a, b)| (a - b).abs() < 1.1e-3), "{got:?}");
    }

    #[test]
    fn times_always_grow_and_a_new_start_goes_on_from_the_last_frame() {
        let got = times(&mut clock(10, 1), 1e-3, &[5.0, 5.1, 5.1, 5.2, 0.0, 0.1, 0.3]);
        assert!(got.windows(2).all(|w| w[1] > w[0]), "{got:?}");
        let want = [5.3, 5.4, 5.6];
        assert!(got[4..].iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-9), "{got:?}");
        let mut clock = clock(10, 1);
        let told = [Some(Told { seconds: None, tick: 0.1 }), None, Some(Told { seconds: Some(2.0), tick: 0.1 })];
        assert_eq!(told.map(|told| (clock.next(told) * 10.0).round()), [0.0, 1.0, 20.0]);
    }
}
