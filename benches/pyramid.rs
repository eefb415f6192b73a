//! Measures the image pyramid of a frame of 640×480 pixels on one thread: ours, and fast_image_resize on the same levels.
//! Before measuring, it prints the pyramid's share of a whole frame's time, and the pyramid's times on a GPU, if there is
//! one.

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use facecascade::pyramid::Pyramid;
use facecascade::text::ms;
use facecascade::{Cascade, Options};
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;
/// Printed times are the least of this many runs.
const FRAMES: usize = 50;

/// A frame without faces.
fn frame() -> RgbImage {
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| image::Rgb([(x * 7 + y * 13) as u8, (x ^ y) as u8, (y * 91 + x) as u8]))
}

/// A level of the pyramid: columns, rows, RGB.
type Level = (usize, usize, Vec<u8>);

/// Builds the same levels by fast_image_resize alone.
struct Alone {
    resizer: Resizer,
    frame: RgbImage,
    /// Each level with the number of the level that it is made from, `None` for the frame.
    levels: Vec<(Option<usize>, Level)>,
}

impl Alone {
    /// Takes the levels from the cascade's plan.
    fn new(cascade: &Cascade, frame: &RgbImage) -> Self {
        let (mut halves, mut own) = (Pyramid::default(), Pyramid::default());
        cascade.plan().build(frame, &mut halves, &mut own);
        let empty = |l: &facecascade::pyramid::Level| (l.width, l.height, vec![0; l.pixels.len()]);
        let mut levels: Vec<(Option<usize>, Level)> = Vec::new();
        for (k, half) in halves.levels.iter().enumerate().skip(1) {
            levels.push((k.checked_sub(2), empty(half)));
        }
        // The first level is made from the smallest half that is not smaller, as in the cascade.
        let first = own.levels.first().map_or(0, |l| l.width);
        let mut from = (0..levels.len()).rev().find(|k| levels[*k].1.0 >= first);
        for level in &own.levels {
            levels.push((from, empty(level)));
            from = Some(levels.len() - 1);
        }
        Self { resizer: Resizer::new(), frame: frame.clone(), levels }
    }

    /// Builds all levels of the frame.
    fn build(&mut self) {
        for k in 0..self.levels.len() {
            let (above, rest) = self.levels.split_at_mut(k);
            let (from, (w, h, pixels)) = &mut rest[0];
            let (from_w, from_h, source) = match from {
                Some(i) => (above[*i].1.0, above[*i].1.1, &above[*i].1.2[..]),
                None => (WIDTH as usize, HEIGHT as usize, &self.frame.as_raw()[..]),
            };
            let halved = from_w.is_multiple_of(*w) && from_h.is_multiple_of(*h);
            let filter = if halved { FilterType::Box } else { FilterType::Hamming };
            let source = TypedImageRef::<U8x3>::from_buffer(from_w as u32, from_h as u32, source);
            let target = TypedImage::<U8x3>::from_buffer(*w as u32, *h as u32, pixels);
            let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
            if let (Ok(source), Ok(mut target)) = (source, target) {
                let resized = self.resizer.resize_typed(&source, &mut target, Some(&options));
                assert!(resized.is_ok(), "{resized:?}");
            }
        }
    }
}

/// Returns the least time of [`FRAMES`] runs.
fn least(mut run: impl FnMut()) -> Duration {
    let once = || {
        let begin = Instant::now();
        run();
        begin.elapsed()
    };
    std::iter::repeat_with(once).take(FRAMES).min().unwrap_or_default()
}

/// Prints the times of the same levels on a GPU: each level, upload and read-back.
#[cfg(feature = "gpu")]
fn on_gpu(out: &mut impl Write, cascade: &Cascade) -> facecascade::Result<()> {
    use facecascade::pyramid::gpu::{Adapters, Gpu, measure};
    let gpu = Gpu::open(Adapters::All)?;
    if let Some(times) = measure::times(&gpu, (WIDTH, HEIGHT), &cascade.plan()) {
        let _ = writeln!(out, "{times}");
    }
    Ok(())
}

#[cfg(not(feature = "gpu"))]
fn on_gpu(_: &mut impl Write, _: &Cascade) -> facecascade::Result<()> {
    Ok(())
}

fn pyramids(criterion: &mut Criterion, out: &mut impl Write) -> facecascade::Result<()> {
    let frame = frame();
    let mut group = criterion.benchmark_group("pyramid");
    for min_face in [20_u32, 40] {
        let cascade = Cascade::shipped(Options { min_face: min_face as f32, ..Options::default() })?;
        let plan = cascade.plan();
        let (mut halves, mut own) = (Pyramid::default(), Pyramid::default());
        let mut alone = Alone::new(&cascade, &frame);
        let pyramid = least(|| plan.build(black_box(&frame), &mut halves, &mut own));
        let library = least(|| alone.build());
        let whole = least(|| {
            black_box(cascade.detect(black_box(&frame)).unwrap_or_default());
        });
        let _ = writeln!(
            out,
            "smallest face {min_face}: pyramid {:.3} ms, {:.2} × fast_image_resize alone; {:.1} % of a frame without faces \
             ({:.3} ms); least of {FRAMES}",
            ms(pyramid),
            ms(pyramid) / ms(library),
            100.0 * ms(pyramid) / ms(whole),
            ms(whole)
        );
        if let Err(e) = on_gpu(out, &cascade) {
            let _ = writeln!(out, "{e}");
        }
        group.bench_function(BenchmarkId::new("ours", min_face), |b| {
            b.iter(|| plan.build(black_box(&frame), &mut halves, &mut own));
        });
        group.bench_function(BenchmarkId::new("fast_image_resize", min_face), |b| b.iter(|| alone.build()));
    }
    group.finish();
    Ok(())
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
        .configure_from_args();
    let mut out = std::io::stdout().lock();
    if let Err(e) = pyramids(&mut criterion, &mut out) {
        let _ = writeln!(out, "pyramid: not measured: {e}");
        return;
    }
    criterion.final_summary();
}
