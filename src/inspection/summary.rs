//! Adds several pictures up: windows, time and lost faces step by step.

use std::fmt::Write;

use super::Inspection;
use crate::text::{counted, ms};

/// Sums over pictures.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Pictures.
    pub pictures: usize,
    /// True faces that count.
    pub faces: usize,
    /// Those of them that were found.
    pub found: usize,
    /// Boxes that the cascade gave.
    pub boxes: usize,
    /// One for each step.
    pub steps: Vec<StepSum>,
    truth: bool,
}

/// Sums of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepSum {
    /// The step.
    pub name: &'static str,
    /// Windows behind it, accepted ones too.
    pub windows: usize,
    /// Time, milliseconds.
    pub ms: f64,
    /// True faces that it lost.
    pub lost: usize,
}

impl Summary {
    /// Adds a picture.
    pub fn add(&mut self, inspection: &Inspection) {
        let (faces, found) = inspection.counts();
        self.pictures += 1;
        self.faces += faces;
        self.found += found;
        self.boxes += inspection.faces.len();
        self.truth |= !inspection.truth.is_empty();
        for (i, step) in inspection.steps.iter().enumerate() {
            if self.steps.len() == i {
                self.steps.push(StepSum { name: step.name, windows: 0, ms: 0.0, lost: 0 });
            }
            let sum = &mut self.steps[i];
            // Behind the last step, the accepted ones are among the windows.
            sum.windows += step.windows.len() + if i + 1 < inspection.steps.len() { step.accepted.len() } else { 0 };
            sum.ms += ms(step.elapsed);
            sum.lost += inspection.lost().filter(|(_, loss)| loss.step == i).count();
        }
    }

    /// Says how many faces there are and were found.
    pub fn heading(&self) -> String {
        let pictures = counted(self.pictures, "picture");
        if !self.truth {
            return format!("{pictures}: {} found", counted(self.boxes, "face"));
        }
        let lost = self.faces - self.found;
        format!("{pictures}, {}: {} found, {lost} lost", counted(self.faces, "true face"), self.found)
    }

    /// Mean number of windows and mean milliseconds a picture of a step.
    pub fn means(&self, step: &StepSum) -> (f64, f64) {
        let pictures = self.pictures.max(1) as f64;
        (step.windows as f64 / pictures, step.ms / pictures)
    }

    /// The table: a line for each step. Writing to a string can't fail.
    pub fn table(&self) -> String {
        let mut text = format!("{}\n{:<14}{:>18}{:>14}", self.heading(), "a picture", "windows", "ms");
        text += if self.truth { "   faces lost, of all\n" } else { "\n" };
        for step in &self.steps {
            let (windows, ms) = self.means(step);
            let _ = write!(text, "{:<14}{windows:>18.1}{ms:>14.2}", step.name);
            if self.truth {
                let _ = write!(text, "{:>13}", step.lost);
            }
            text.push('\n');
        }
        text
    }

    /// Whether true faces are known, so that some may be lost.
    pub fn has_truth(&self) -> bool {
        self.truth
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cascade::{Cascade, Options};
    use crate::dataset::Truth;
    use crate::geometry::Rect;
    use image::RgbImage;

    #[test]
    fn lost_faces_are_counted_at_the_step_that_lost_them() {
        let cascade = Cascade::shipped(Options { min_face: 40.0, ..Options::default() }).unwrap();
        let picture = RgbImage::from_pixel(200, 160, image::Rgb([120; 3]));
        let face = |side| Truth { rect: Rect::new(20.0, 20.0, side, side), ..Truth::default() };
        let mut summary = Summary::default();
        for truth in [vec![face(60.0), face(12.0)], vec![face(80.0)]] {
            summary.add(&Inspection::new(&cascade, "a".into(), &picture, &truth).unwrap());
        }
        // Nothing is on a grey picture, and a face of 12 pixels does not count.
        assert_eq!(summary.heading(), "2 pictures, 2 true faces: 0 found, 2 lost");
        assert_eq!(summary.steps.len(), 3 * cascade.levels());
        assert!(summary.steps.iter().enumerate().all(|(i, step)| step.lost == if i == 0 { 2 } else { 0 }));
        let table = summary.table();
        assert!(table.contains("find-1") && table.contains("filter-2"), "{table}");
        let mut blind = Summary::default();
        blind.add(&Inspection::new(&cascade, "a".into(), &picture, &[]).unwrap());
        assert_eq!(blind.heading(), "1 picture: 0 faces found");
        assert!(!blind.table().contains("lost"));
    }
}
