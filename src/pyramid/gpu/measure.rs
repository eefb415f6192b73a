//! How long the pyramid takes on the GPU and on the CPU, and where the time goes.

use std::fmt;
use std::time::{Duration, Instant};

use image::RgbImage;

use super::layout::Layout;
use super::slot::Slot;
use super::{Gpu, Ticket};
use crate::pyramid::{Plan, Pyramid, cpu};
use crate::text::ms;

/// Pictures to take the median of.
const PICTURES: usize = 15;
/// Times that each level is made in one submission, to tell its time from the submission's.
const REPEATS: u32 = 20;

/// One level.
#[derive(Debug, Clone, Copy)]
pub struct LevelTime {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Time to make the level from the one above on the GPU, where all data is.
    pub gpu: Duration,
    /// The same on the CPU, one thread.
    pub cpu: Duration,
}

/// Median times for pictures of one size.
#[derive(Debug, Clone)]
pub struct Times {
    /// The GPU's name.
    pub name: String,
    /// Columns and rows of the picture.
    pub size: (u32, u32),
    /// The picture's halves, then the first net's levels.
    pub levels: Vec<LevelTime>,
    /// Bringing a picture to the GPU, submission included.
    pub upload: Duration,
    /// Bringing all levels back, submission included.
    pub read_back: Duration,
    /// A submission of nothing.
    pub submission: Duration,
    /// A whole picture on the GPU, in one submission, as [`Gpu::submit`] and [`Gpu::take`] do it.
    pub gpu: Duration,
    /// A whole picture on the CPU, one thread.
    pub cpu: Duration,
}

/// Median time of `once`; `None` if one of them fails.
fn median(mut once: impl FnMut() -> Option<Duration>) -> Option<Duration> {
    // The first ones make buffers and wake the device.
    for _ in 0..3 {
        once()?;
    }
    let mut times: Vec<Duration> = (0..PICTURES).map(|_| once()).collect::<Option<_>>()?;
    times.sort();
    Some(times[PICTURES / 2])
}

fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let begin = Instant::now();
    let result = run();
    (begin.elapsed(), result)
}

/// A picture of `size` in which no two parts are alike.
fn picture(size: (u32, u32)) -> RgbImage {
    RgbImage::from_fn(size.0, size.1, |x, y| image::Rgb([(x * 7 + y * 13) as u8, (x ^ y) as u8, (y * 91 + x) as u8]))
}

/// A whole picture of `size` on the GPU and on the CPU, one thread; `None` if the GPU fails or gives other pixels.
pub fn both(gpu: &Gpu, size: (u32, u32), plan: &Plan) -> Option<(Duration, Duration)> {
    let picture = picture(size);
    let (mut halves, mut levels, mut behind) = (Pyramid::default(), Pyramid::default(), Vec::new());
    let on_gpu = median(|| {
        let (time, taken) = timed(|| {
            let ticket: Ticket = gpu.submit(&picture, plan)?;
            behind.clear();
            gpu.take(ticket, &picture, &mut halves, &mut levels, &mut behind).then_some(())
        });
        taken.map(|()| time)
    })?;
    let from_gpu = (halves, levels);
    let (mut halves, mut levels) = (Pyramid::default(), Pyramid::default());
    let on_cpu = cpu_time(&picture, plan, &mut halves, &mut levels);
    // Drivers have faults, too. With the first net behind it the levels stay on the GPU.
    let right = from_gpu.0.levels == halves.levels && (gpu.has_follow_up() || from_gpu.1.levels == levels.levels);
    right.then_some((on_gpu, on_cpu))
}

/// A whole picture of `size` on the CPU, one thread.
pub fn on_cpu(size: (u32, u32), plan: &Plan) -> Duration {
    cpu_time(&picture(size), plan, &mut Pyramid::default(), &mut Pyramid::default())
}

fn cpu_time(picture: &RgbImage, plan: &Plan, halves: &mut Pyramid, levels: &mut Pyramid) -> Duration {
    median(|| Some(timed(|| plan.build(picture, halves, levels)).0)).unwrap_or_default()
}

/// Where the time goes with pictures of `size`; `None` if the GPU fails, or if there is nothing to build.
pub fn times(gpu: &Gpu, size: (u32, u32), plan: &Plan) -> Option<Times> {
    let (on_gpu, on_cpu) = both(gpu, size, plan)?;
    let picture = picture(size);
    let layout = Layout::new(size, plan)?;
    let slot = Slot::new(&gpu.device, &gpu.shaders, layout.into(), None)?;
    let device = &gpu.device;
    let encoder = || device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let finish = |encoder: wgpu::CommandEncoder| {
        device.queue.submit([encoder.finish()]);
        let waited = device.device.poll(wgpu::PollType::wait_indefinitely());
        (waited.is_ok() && gpu.fault().is_none()).then_some(())
    };
    let submission = median(|| {
        let (time, done) = timed(|| finish(encoder()));
        done.map(|()| time)
    })?;
    let upload = median(|| {
        let (time, done) = timed(|| {
            slot.upload(device, picture.as_raw());
            finish(encoder())
        });
        done.map(|()| time)
    })?;
    let read_back = median(|| {
        let (time, read) = timed(|| {
            let mut encoder = encoder();
            slot.record_results(&mut encoder);
            let (submission, mapped) = slot.submit(device, encoder);
            if !device.wait(submission, &mapped) {
                return None;
            }
            slot.read(device, |pixels, _| pixels.to_vec())
        });
        read.map(|_| time)
    })?;
    let mut levels = Vec::new();
    let (mut halves, mut own) = (Pyramid::default(), Pyramid::default());
    plan.build(&picture, &mut halves, &mut own);
    let mut cpu = cpu_times(plan, &halves, &own).into_iter();
    for (place, passes) in slot.layout.passes_by_level() {
        let all = median(|| {
            let mut encoder = encoder();
            for _ in 0..REPEATS {
                slot.record(device, &gpu.shaders, &mut encoder, passes.clone());
            }
            let (time, done) = timed(|| finish(encoder));
            done.map(|()| time)
        })?;
        let (width, height) = (place.level.width, place.level.height);
        let gpu = all.saturating_sub(submission) / REPEATS;
        levels.push(LevelTime { width, height, gpu, cpu: cpu.next().unwrap_or_default() });
    }
    let name = gpu.name().to_owned();
    Some(Times { name, size, levels, upload, read_back, submission, gpu: on_gpu, cpu: on_cpu })
}

/// Each level from the one above: the halves but the picture itself, then the first net's levels.
fn cpu_times(plan: &Plan, halves: &Pyramid, levels: &Pyramid) -> Vec<Duration> {
    let mut resizer = cpu::Resizer::default();
    let mut buffer = Vec::new();
    let source = halves.source_for(plan.first_scale).map(|(_, i)| &halves.levels[i]);
    let pairs = halves.levels.windows(2).map(|pair| (&pair[0], &pair[1], true));
    let first = source.zip(levels.levels.first()).map(|(from, to)| (from, to, false));
    let own = levels.levels.windows(2).map(|pair| (&pair[0], &pair[1], plan.step == 2.0));
    pairs
        .chain(first)
        .chain(own)
        .map(|(from, to, halved)| {
            buffer.resize(to.pixels.len(), 0);
            let once = || {
                let make = || {
                    if halved {
                        cpu::halve(&from.pixels, from.width, &mut buffer, to.width);
                    } else {
                        let source = (from.width, from.height, &from.pixels[..]);
                        resizer.resize(source, (to.width, to.height, &mut buffer));
                    }
                };
                Some(timed(make).0)
            };
            median(once).unwrap_or_default()
        })
        .collect()
}

impl fmt::Display for Times {
    /// Writes a table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pyramid of a picture of {}×{}, median ms", self.size.0, self.size.1)?;
        writeln!(f, "{:<22} {:>9} {:>9}  GPU: {}", "", "GPU", "CPU", self.name)?;
        for level in &self.levels {
            let size = format!("level {}×{}", level.width, level.height);
            writeln!(f, "{size:<22} {:>9.3} {:>9.3}", ms(level.gpu), ms(level.cpu))?;
        }
        let sum = |of: fn(&LevelTime) -> Duration| ms(self.levels.iter().map(of).sum());
        writeln!(f, "{:<22} {:>9.3} {:>9.3}", "levels together", sum(|l| l.gpu), sum(|l| l.cpu))?;
        writeln!(f, "{:<22} {:>9.3}", "upload", ms(self.upload))?;
        writeln!(f, "{:<22} {:>9.3}", "read-back", ms(self.read_back))?;
        writeln!(f, "{:<22} {:>9.3}", "an empty submission", ms(self.submission))?;
        write!(f, "{:<22} {:>9.3} {:>9.3}", "a whole picture", ms(self.gpu), ms(self.cpu))
    }
}
