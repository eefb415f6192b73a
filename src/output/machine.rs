//! Describes the machine of a measurement, and what the program uses of it: processor time, memory, threads, open files.
//! Linux reports all of these; values that another system does not report are `None`.

use std::time::{Duration, Instant};

use crate::nets::kernels::Isa;

/// Describes a machine in words.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Machine {
    /// The processor's name; its architecture where the name is unknown.
    pub cpu: String,
    /// Cores that this program may use.
    pub cores: usize,
    /// Name and version of the operating system.
    pub os: String,
    /// The instruction set that nets run on: `avx512`, `avx2` or `portable`.
    pub isa: &'static str,
}

impl Machine {
    /// Describes the machine that the program runs on.
    pub fn here() -> Self {
        Self {
            cpu: cpu().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            os: os().unwrap_or_else(|| std::env::consts::OS.to_owned()),
            isa: match Isa::best() {
                Isa::Avx512 => "avx512",
                Isa::Avx2 => "avx2",
                Isa::Portable => "portable",
            },
        }
    }
}

fn cpu() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let (_, name) = text.lines().find(|line| line.starts_with("model name"))?.split_once(':')?;
    Some(name.trim().to_owned())
}

fn os() -> Option<String> {
    let text = std::fs::read_to_string("/etc/os-release").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?.trim_matches('"').to_owned();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Some(format!("{name}, Linux {}", kernel.trim()))
}

/// What the program has used so far, or uses now, at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// When the values were read.
    pub at: Instant,
    /// Processor time of this program since it started, all threads, user and system.
    pub cpu: Option<Duration>,
    /// Processor time of all programs since the machine started, to a hundredth of a second.
    pub all_programs: Option<Duration>,
    /// Resident memory, bytes.
    pub memory: Option<u64>,
    /// Number of threads.
    pub threads: Option<u64>,
    /// Number of open file descriptors.
    pub files: Option<u64>,
}

impl Usage {
    /// Reads the values now, which takes about 0.1 ms.
    pub fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        // One of the descriptors is the folder's own, while it is read.
        let files = std::fs::read_dir("/proc/self/fd").ok().map(|dir| (dir.count() as u64).saturating_sub(1));
        Self {
            at: Instant::now(),
            cpu: process_time(),
            all_programs: busy(&stat),
            memory: field(&status, "VmRSS:").map(|kib| kib * 1024),
            threads: field(&status, "Threads:"),
            files,
        }
    }

    /// Percent of one core that this program used from `before` to `self`.
    pub fn percent_since(&self, before: &Self) -> Option<f64> {
        let wall = self.at.saturating_duration_since(before.at).as_secs_f64();
        let used = self.cpu?.checked_sub(before.cpu?)?;
        (wall > 0.0).then(|| used.as_secs_f64() / wall * 100.0)
    }

    /// Percent of one core that all other programs used from `before` to `self`.
    pub fn others_since(&self, before: &Self) -> Option<f64> {
        let wall = self.at.saturating_duration_since(before.at).as_secs_f64();
        let all = self.all_programs?.checked_sub(before.all_programs?)?.as_secs_f64();
        let percent = self.percent_since(before)?;
        // Some containers report 0 for the whole machine.
        (wall > 0.0 && all > 0.0).then(|| (all / wall * 100.0 - percent).max(0.0))
    }
}

/// Processor time of this program since it started, all threads, user and system.
#[cfg(unix)]
pub fn process_time() -> Option<Duration> {
    use nix::time::{ClockId, clock_gettime};
    Some(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok()?.into())
}

/// No processor time is known here.
#[cfg(not(unix))]
pub fn process_time() -> Option<Duration> {
    None
}

/// Returns the number behind `name` in the text of /proc/self/status.
fn field(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// Returns how long all cores together have worked, from the text of /proc/stat. Its first line counts hundredths of a
/// second of user, nice, system, idle, waiting, interrupts, soft interrupts; all but idle and waiting are work.
fn busy(stat: &str) -> Option<Duration> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> = line.split_whitespace().map_while(|v| v.parse().ok()).collect();
    let busy = times.iter().take(3).sum::<u64>() + times.iter().skip(5).take(2).sum::<u64>();
    (times.len() >= 7).then(|| Duration::from_millis(busy * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_kernel_are_read() {
        assert_eq!(field("Name:\tx\nVmRSS:\t  1234 kB\nThreads:\t7\n", "VmRSS:"), Some(1234));
        assert_eq!(field("Name:\tx\n", "VmRSS:"), None);
        assert_eq!(busy("cpu  100 10 50 9999 77 3 2 5 0 0\ncpu0 1 2\n"), Some(Duration::from_millis(1650)));
        assert_eq!(busy("cpu  100 10\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn work_threads_memory_and_files_of_this_program_are_seen() {
        let before = Usage::now();
        let (send, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let block = vec![1u8; 64 << 20];
        let mut sum = 0u64;
        while before.at.elapsed() < Duration::from_millis(200) {
            sum = block.iter().fold(sum, |a, b| std::hint::black_box(a + u64::from(*b)));
        }
        let after = Usage::now();
        // Other tests run in this process at the same time, so only lower bounds are certain.
        assert!(after.cpu.unwrap() > before.cpu.unwrap() && sum > 0);
        assert!(after.memory.unwrap() > 48 << 20 && after.threads.unwrap() >= 2 && after.files.unwrap() >= 4);
        assert!(after.percent_since(&before).unwrap() > 1.0);
        drop((send, file));
        let _ = thread.join();
    }
}
