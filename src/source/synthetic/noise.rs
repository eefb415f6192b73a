//! Adds the noise of a camera's sensor.

use image::RgbImage;

use super::Random;

/// Count of random numbers, which are drawn once; each row of each frame starts at another one.
const COUNT: usize = 1 << 16;

/// Noise with a normal distribution, different in every frame and channel.
#[derive(Debug)]
pub(super) struct Noise(Vec<i16>);

impl Noise {
    /// Noise of the standard deviation `deviation`, grey levels.
    pub(super) fn new(deviation: f32, random: &mut Random) -> Self {
        // The sum of twelve uniform numbers has a variance of 1 and is nearly normal.
        let mut normal = || (0..12).map(|_| random.share()).sum::<f64>() - 6.0;
        Self((0..COUNT).map(|_| (normal() * f64::from(deviation)).round() as i16).collect())
    }

    /// Adds the noise of frame number `frame` to `picture`.
    pub(super) fn add(&self, picture: &mut RgbImage, frame: u64) {
        let mut random = Random(frame);
        // Each row starts at a random number of its own, or the noise would show as a pattern.
        let width = picture.width() as usize * 3;
        for row in picture.as_mut().chunks_exact_mut(width.max(1)) {
            let start = (random.share() * COUNT as f64) as usize;
            let (behind, before) = self.0.split_at(start);
            for (value, noise) in row.iter_mut().zip(before.iter().chain(behind).cycle()) {
                *value = (i16::from(*value) + noise).clamp(0, 255) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn noise_has_the_deviation_asked_for_and_is_another_in_every_frame() {
        let noise = Noise::new(4.0, &mut Random(1));
        let mut frames = [5, 6].map(|frame| {
            let mut picture = RgbImage::from_pixel(200, 100, Rgb([100; 3]));
            noise.add(&mut picture, frame);
            picture
        });
        let errors = |p: &RgbImage| p.as_raw().iter().map(|v| f64::from(*v) - 100.0).collect::<Vec<_>>();
        let [a, b] = frames.each_mut().map(|p| errors(p));
        let deviation = |e: &[f64]| (e.iter().map(|v| v * v).sum::<f64>() / e.len() as f64).sqrt();
        assert!((deviation(&a) - 4.0).abs() < 0.2, "{}", deviation(&a));
        let between: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        assert!((deviation(&between) - 4.0 * 2f64.sqrt()).abs() < 0.3, "{}", deviation(&between));
    }
}
