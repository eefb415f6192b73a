//! `facecascade bench --pyramid-times`: where the time of the image pyramid goes, on the GPU and on the CPU.

use facecascade::Cascade;

/// Prints a table of times for pictures of `size` (width, height in pixels): each level and all levels together, on the
/// GPU and on the CPU, with upload and read-back of their own; and what `--pyramid auto` would choose.
pub(super) fn print(cascade: &Cascade, size: (u32, u32)) -> anyhow::Result<()> {
    Ok(super::super::say(&report(cascade, size)?)?)
}

#[cfg(feature = "gpu")]
fn report(cascade: &Cascade, size: (u32, u32)) -> facecascade::Result<String> {
    use facecascade::pyramid::gpu::{Adapters, Gpu, auto, measure};
    use facecascade::text::ms;
    let gpu = match Gpu::open(Adapters::All) {
        Ok(gpu) => gpu,
        Err(e) => {
            let ms = ms(measure::on_cpu(size, &cascade.plan()));
            return Ok(format!("pyramid of a picture of {}×{} on the CPU: {ms:.3} ms ({e})", size.0, size.1));
        }
    };
    let times = measure::times(&gpu, size, &cascade.plan()).ok_or_else(|| {
        facecascade::Error::Gpu(format!("{} computes other pixels than the CPU, or none", gpu.name()))
    })?;
    Ok(format!("{times}\n--pyramid auto: {}", auto::choose(Adapters::Real, size, &cascade.plan()).describe()))
}

#[cfg(not(feature = "gpu"))]
fn report(_: &Cascade, _: (u32, u32)) -> facecascade::Result<String> {
    Err(facecascade::Error::Gpu("this program was built without GPUs (cargo feature `gpu`)".into()))
}

#[cfg(all(test, feature = "gpu"))]
mod tests {
    use super::*;

    #[test]
    fn the_report_has_every_level_both_ways_and_what_auto_would_choose() {
        let cascade = Cascade::shipped(facecascade::Options::default()).unwrap();
        let text = report(&cascade, (160, 120)).unwrap();
        if text.contains("no GPU was found") {
            assert!(text.contains("160×120 on the CPU"), "{text}");
            #[expect(clippy::print_stderr, reason = "tests say what they skip")]
            return eprintln!("skipped: {text}");
        }
        let words = ["level 80×60", "levels together", "upload", "read-back", "auto: on "];
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        // The picture's halves, and the levels that the first net runs over.
        assert!(text.lines().filter(|line| line.starts_with("level ")).count() > 3, "{text}");
    }
}
