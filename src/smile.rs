//! Smiles over time: a face's probability smoothed along its track, a state that does not flicker, how long a face smiled, and
//! the moment at which all of them do. What one frame says is told by [`crate::cascade::smile`].

/// Time in which the mean of the last frames covers most (63 %) of the way to a new value, seconds: one frame alone says little.
const RECENT: f64 = 0.12;
/// The same of the told value on its way to that mean, so that what a camera's noise, an encoder or a pixel's motion change is
/// not seen. Sooner after a face's first frame and after a real change, where the told value is the mean of all frames since.
const SETTLING: f64 = 1.2;
/// The told logit never differs by more from the mean of the last frames: a real change shows at once.
const UNSURE: f32 = 0.8;
/// Logits are cut here, so that a sure frame does not hold a change up for long: a probability of .98.
const SUREST: f32 = 4.0;
/// A face begins to smile at this probability …
pub const BEGINS: f32 = 0.6;
/// … and ends below this one.
pub const ENDS: f32 = 0.4;

/// A face's smile along its track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SmileTrack {
    /// Mean of the last frames.
    recent: f32,
    /// What is told.
    logit: f32,
    /// Seconds since the first frame or the last real change.
    age: f64,
    time: f64,
    smiling: bool,
}

impl SmileTrack {
    /// A face seen for the first time, at `time` seconds, with this probability of a smile (0..1).
    pub fn new(probability: f32, time: f64) -> Self {
        let logit = logit(probability);
        Self { recent: logit, logit, age: 0.0, time, smiling: probability >= BEGINS }
    }

    /// The face is seen again.
    pub fn see(&mut self, probability: f32, time: f64) {
        // Times of pictures and of broken files may stand still.
        let step = if time > self.time { time - self.time } else { 1.0 / 30.0 };
        self.time = time;
        self.age += step;
        let share = |settling: f64| (1.0 - (-step / settling.min(self.age)).exp()) as f32;
        self.recent += share(RECENT) * (logit(probability) - self.recent);
        let settled = self.logit + share(SETTLING) * (self.recent - self.logit);
        self.logit = settled.clamp(self.recent - UNSURE, self.recent + UNSURE);
        if self.logit != settled {
            self.age = 0.0;
        }
        let now = self.probability();
        self.smiling = if self.smiling { now >= ENDS } else { now >= BEGINS };
    }

    /// The smoothed probability, 0..1.
    pub fn probability(&self) -> f32 {
        1.0 / (1.0 + (-self.logit).exp())
    }

    /// Whether the face smiles: from [`BEGINS`] on until below [`ENDS`].
    pub fn is_smiling(&self) -> bool {
        self.smiling
    }
}

fn logit(probability: f32) -> f32 {
    let p = probability.clamp(1e-6, 1.0 - 1e-6);
    (p / (1.0 - p)).ln().clamp(-SUREST, SUREST)
}

/// How long one face smiled.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Smiled {
    /// Seconds in all.
    pub seconds: f64,
    /// The longest smile, seconds.
    pub longest: f64,
    current: f64,
}

/// How long each face smiled, frame by frame in order.
#[derive(Debug, Default)]
pub struct SmileLog {
    faces: std::collections::BTreeMap<u64, Smiled>,
    last: Vec<(u64, bool)>,
    time: Option<f64>,
    step: f64,
}

impl SmileLog {
    /// The faces of the next frame, `time` seconds from the start: their ids and whether they smile.
    pub fn push(&mut self, faces: impl IntoIterator<Item = (u64, bool)>, time: f64) {
        if let Some(before) = self.time {
            self.step = (time - before).max(0.0);
            self.add(self.step);
        }
        self.time = Some(time);
        self.last.clear();
        self.last.extend(faces);
    }

    /// The last frame lasts as long as the one before it. Gives each face's id and how long it smiled, by id.
    pub fn finish(mut self) -> Vec<(u64, Smiled)> {
        self.add(self.step);
        self.faces.into_iter().collect()
    }

    /// What the last frame showed lasted `seconds`.
    fn add(&mut self, seconds: f64) {
        for &(id, smiling) in &self.last {
            let face = self.faces.entry(id).or_default();
            face.current = if smiling { face.current + seconds } else { 0.0 };
            face.longest = face.longest.max(face.current);
            face.seconds += if smiling { seconds } else { 0.0 };
        }
        // A smile ends where its face is gone.
        for (id, face) in &mut self.faces {
            if !self.last.iter().any(|(there, _)| there == id) {
                face.current = 0.0;
            }
        }
    }
}

/// Who has to smile for a picture to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// All faces that are followed.
    All,
    /// One of them.
    Any,
}

/// What to do with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing, and forget frames that were kept.
    None,
    /// Keep it if it is sharper than the one that is kept.
    Keep,
    /// The same, and then save the one that is kept.
    Take,
}

/// Finds the moment for a picture: once a smile, when it has lasted for [`Trigger::HELD`].
#[derive(Debug)]
pub struct Trigger {
    who: Who,
    /// Since when each face smiles, and whether a picture of this smile was taken.
    smiles: Vec<(u64, f64, bool)>,
    /// Since when all smile, and whether a picture of it was taken.
    all: Option<(f64, bool)>,
}

impl Trigger {
    /// Seconds that a smile has to last.
    pub const HELD: f64 = 0.5;

    /// Nobody smiles yet.
    pub fn new(who: Who) -> Self {
        Self { who, smiles: Vec::new(), all: None }
    }

    /// The faces of the next frame, `time` seconds from the start: their ids and whether they smile.
    pub fn push(&mut self, faces: &[(u64, bool)], time: f64) -> Moment {
        match self.who {
            Who::All => self.all(faces, time),
            Who::Any => self.any(faces, time),
        }
    }

    fn all(&mut self, faces: &[(u64, bool)], time: f64) -> Moment {
        if faces.is_empty() || !faces.iter().all(|(_, smiling)| *smiling) {
            self.all = None;
            return Moment::None;
        }
        let (since, taken) = self.all.get_or_insert((time, false));
        if *taken {
            return Moment::None;
        }
        *taken = time - *since >= Self::HELD - 1e-6;
        if *taken { Moment::Take } else { Moment::Keep }
    }

    fn any(&mut self, faces: &[(u64, bool)], time: f64) -> Moment {
        self.smiles.retain(|(id, ..)| faces.contains(&(*id, true)));
        for (id, _) in faces.iter().filter(|(_, smiling)| *smiling) {
            if !self.smiles.iter().any(|(known, ..)| known == id) {
                self.smiles.push((*id, time, false));
            }
        }
        let fresh = |(_, _, taken): &&(u64, f64, bool)| !taken;
        let Some(since) = self.smiles.iter().filter(fresh).map(|s| s.1).min_by(f64::total_cmp) else {
            return Moment::None;
        };
        if time - since < Self::HELD - 1e-6 {
            return Moment::Keep;
        }
        // The picture shows everybody who smiles now.
        self.smiles.iter_mut().for_each(|s| s.2 = true);
        Moment::Take
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(start: f32) -> SmileTrack {
        SmileTrack::new(start, 0.0)
    }

    #[test]
    fn noise_of_single_frames_changes_neither_state_nor_probability_much() {
        let mut face = track(0.9);
        let mut range = (1.0f32, 0.0f32);
        for i in 1..300 {
            face.see([0.86, 0.93, 0.9, 0.95, 0.82][i * 7 % 5], i as f64 / 30.0);
            range = (range.0.min(face.probability()), range.1.max(face.probability()));
            assert!(face.is_smiling());
        }
        assert!(range.1 - range.0 < 0.05, "{range:?}");
    }

    #[test]
    fn a_smile_between_the_two_bounds_keeps_its_state() {
        let (mut up, mut down) = (track(0.2), track(0.95));
        for i in 1..100 {
            let p = if i % 2 == 0 { 0.45 } else { 0.55 };
            up.see(p, i as f64 / 30.0);
            down.see(p, i as f64 / 30.0);
        }
        assert!(!up.is_smiling() && down.is_smiling());
    }

    #[test]
    fn a_change_shows_within_half_a_second_at_any_rate() {
        for rate in [5.0, 12.0, 30.0, 60.0] {
            let mut face = track(0.001);
            let mut i = 0;
            while !face.is_smiling() {
                i += 1;
                face.see(0.999, f64::from(i) / rate);
            }
            assert!(f64::from(i) / rate <= 0.5, "{i} frames at {rate}");
        }
    }

    #[test]
    fn times_that_stand_still_and_probabilities_of_0_and_1_are_no_trouble() {
        let mut face = track(1.0);
        for _ in 0..100 {
            face.see(0.0, 0.0);
        }
        assert!(face.probability().is_finite() && !face.is_smiling());
    }

    #[test]
    fn the_log_counts_smiles_of_each_face_while_it_is_there() {
        let mut log = SmileLog::default();
        // Face 1 smiles in frames 0–3 and 6; face 2 in 2–3, is gone in 4, and smiles in 5–7.
        for i in 0..8u64 {
            let mut faces = vec![(1, i < 4 || i == 6)];
            if i != 4 {
                faces.push((2, i >= 2));
            }
            log.push(faces, i as f64 * 0.5);
        }
        let found = log.finish();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert_eq!(found.iter().map(|f| f.0).collect::<Vec<_>>(), [1, 2]);
        assert!(near(found[0].1.seconds, 2.5) && near(found[0].1.longest, 2.0), "{found:?}");
        assert!(near(found[1].1.seconds, 2.5) && near(found[1].1.longest, 1.5), "{found:?}");
    }

    /// Frames at which a picture is taken, at 10 frames a second.
    fn taken(who: Who, frames: &[&[(u64, bool)]]) -> Vec<usize> {
        let mut trigger = Trigger::new(who);
        let mut moments = frames.iter().enumerate().map(|(i, f)| (i, trigger.push(f, i as f64 / 10.0)));
        moments.by_ref().filter(|(_, m)| *m == Moment::Take).map(|(i, _)| i).collect()
    }

    #[test]
    fn a_picture_is_taken_once_when_all_have_smiled_for_half_a_second() {
        let (none, one, both): (&[_], &[_], &[_]) =
            (&[(1, false), (2, false)], &[(1, true), (2, false)], &[(1, true), (2, true)]);
        let mut frames = vec![none; 3];
        frames.extend([one; 20]);
        frames.extend([both; 3]);
        frames.extend([one; 2]);
        frames.extend([both; 30]);
        // The first time together was too short; the second begins with frame 28.
        assert_eq!(taken(Who::All, &frames), [33]);
        frames.extend([none; 3]);
        frames.extend([both; 8]);
        assert_eq!(taken(Who::All, &frames), [33, 66]);
        let nobody: [&[(u64, bool)]; 20] = [&[]; 20];
        assert_eq!(taken(Who::All, &nobody), [] as [usize; 0]);
    }

    #[test]
    fn with_any_each_smile_of_each_face_is_taken_once() {
        let (one, both, other): (&[_], &[_], &[_]) =
            (&[(1, true), (2, false)], &[(1, true), (2, true)], &[(1, false), (2, true)]);
        let mut frames = vec![one; 10];
        frames.extend([both; 10]);
        frames.extend([other; 10]);
        frames.extend([both; 10]);
        assert_eq!(taken(Who::Any, &frames), [5, 15, 35]);
    }
}
