//! Prints the results of `bench` as tables.

use std::fmt::Write;

use facecascade::output::latency::{Percentiles, Report};

use super::{Environment, Following, PolicyReport};

/// Prints the environment, the table of stages, and the processor time, memory, threads and files used.
pub(super) fn report(environment: &Environment, report: &Report) -> anyhow::Result<()> {
    let mut text = String::new();
    about(&mut text, environment)?;
    let Report { frames, dropped, fps, searched, warm_up_frames, .. } = report;
    writeln!(
        text,
        "{frames} frames in {:.1} s, {fps:.2} fps, {dropped} dropped, {searched} searched ({warm_up_frames} before: warm-up)",
        report.seconds
    )?;
    writeln!(text)?;
    let head = row(["p50", "p95", "p99", "max"].map(str::to_owned));
    writeln!(text, "{:<16}{head}      wait{head}", "ms")?;
    writeln!(text, "{:<16}{}", "capture to shown", times(&report.latency_ms))?;
    // A cascade of two levels has no third.
    for (name, stage) in report.stages.iter().filter(|(_, stage)| stage.work_ms.max + stage.wait_ms.max > 0.0) {
        writeln!(text, "  {name:<14}{}          {}", times(&stage.work_ms), times(&stage.wait_ms))?;
    }
    writeln!(text)?;
    if let Some(drift) = &report.drift {
        let span = drift.span_seconds;
        let (first, last) = (drift.first_p95_ms, drift.last_p95_ms);
        writeln!(text, "p95 of the first {span:.0} s {first:.2} ms, of the last {span:.0} s {last:.2} ms")?;
    }
    used(&mut text, report)?;
    Ok(super::super::say(text.trim_end())?)
}

/// Writes the machine and the options.
fn about(text: &mut String, environment: &Environment) -> std::fmt::Result {
    let Environment { machine, facecascade, threads, source, min_face, window, pyramid, search, slow_ms } = environment;
    writeln!(text, "{source}")?;
    writeln!(text, "{}, {} cores, {}", machine.cpu, machine.cores, machine.os)?;
    let slow = slow_ms.map_or(String::new(), |ms| format!(", search slowed by {ms} ms"));
    writeln!(
        text,
        "facecascade {facecascade}, {}, threads: {threads}, smallest face: {min_face}, window: {window}, \
         search: {search}{slow}\npyramid {pyramid}",
        machine.isa
    )
}

/// Writes processor time, memory, threads and files.
fn used(text: &mut String, report: &Report) -> std::fmt::Result {
    let mut parts = Vec::new();
    if let Some(percent) = report.cpu_percent {
        parts.push(format!("CPU {percent:.1} % of one core"));
    }
    if let Some(percent) = report.others_cpu_percent {
        parts.push(format!("other programs {percent:.0} %"));
    }
    if let (Some(first), Some(last)) = (report.memory_mb.first(), report.memory_mb.last()) {
        parts.push(format!("memory {first:.1} -> {last:.1} MB"));
    }
    for (name, list) in [("threads", &report.threads), ("open files", &report.fds)] {
        if let (Some(first), Some(last)) = (list.first(), list.last()) {
            parts.push(if first == last { format!("{last} {name}") } else { format!("{first} -> {last} {name}") });
        }
    }
    writeln!(text, "{}", parts.join(", "))
}

/// Prints latency and drops of each way to queue frames.
pub(super) fn policies(reports: &[PolicyReport]) -> anyhow::Result<()> {
    let mut text = String::new();
    let slow = reports.first().map_or(0, |r| r.slow_ms);
    writeln!(text, "\nways to queue frames, each search slowed by {slow} ms")?;
    let head = row(["p50", "p95", "p99", "max"].map(str::to_owned));
    writeln!(text, "{:<28}{head}      fps  dropped", "capture to shown, ms")?;
    for PolicyReport { policy, report, .. } in reports {
        let Report { fps, dropped, .. } = report;
        writeln!(text, "{policy:<28}{}{fps:>9.1}{dropped:>9}", times(&report.latency_ms))?;
    }
    Ok(super::super::say(text.trim_end())?)
}

/// Prints how well faces are followed.
pub(super) fn following(f: &Following) -> anyhow::Result<()> {
    let mut text = String::new();
    writeln!(text, "\nfollowing faces, on the synthetic camera")?;
    writeln!(
        text,
        "  still face: box jitters by {:.2} % of its side, found by {:.2} %",
        f.jitter_shown, f.jitter_found
    )?;
    writeln!(
        text,
        "  moving faces: box is {:.2} frames behind, missing in {:.2} % of frames",
        f.lag_frames, f.missing
    )?;
    writeln!(
        text,
        "  first box: {:.0} ms after the face, {:.0} ms where nobody was there for a while",
        f.first_box_ms, f.first_box_after_nobody_ms
    )?;
    Ok(super::super::say(text.trim_end())?)
}

/// Writes four percentiles as cells.
fn times(p: &Percentiles) -> String {
    row([p.p50, p.p95, p.p99, p.max].map(|ms| format!("{ms:.2}")))
}

/// Joins cells, each eight columns wide.
fn row(cells: [String; 4]) -> String {
    cells.iter().map(|cell| format!("{cell:>8}")).collect()
}
