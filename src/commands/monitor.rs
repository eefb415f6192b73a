//! `facecascade monitor`: a page that follows training runs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use facecascade::monitor::Monitor;

use crate::cli::{Common, Outcome};

/// First port that is tried.
const PORT: u16 = 7007;
/// Ports that are tried one after the other.
const PORTS: u16 = 20;

/// Follow training runs on a page in the browser
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  facecascade monitor runs/mine
  facecascade monitor runs/mine runs/other
  facecascade monitor runs
  facecascade monitor runs --port 8080

\
The page shows loss, error, accuracy, learning rate, gradient and speed of one or many runs, live, and their recipes and pictures. It \
needs no network and answers this machine only. From another machine: ssh -L 7007:localhost:7007 HOST, then http://localhost:7007/ there.")]
pub(crate) struct MonitorArgs {
    /// Folders of runs, or folders with runs in them; a run may begin later
    #[arg(default_value = "runs", value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Port to serve the page at; 0 = any [default: 7007, or the next one that is free]
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Address to listen at; whoever reaches another one than this can see the runs
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "ADDRESS")]
    host: IpAddr,
}

pub(crate) fn run(args: MonitorArgs, _: &Common) -> anyhow::Result<Outcome> {
    let stop = super::stop_on_signal()?;
    let monitor = start(args.runs, args.host, args.port)?;
    super::say(&format!("The monitor is at {} (Ctrl-C ends it)", monitor.url()))?;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(Outcome::Done)
}

/// Starts a monitor of `runs` at `port`, or at the first usual one that is free.
pub(super) fn start(runs: Vec<PathBuf>, host: IpAddr, port: Option<u16>) -> facecascade::Result<Monitor> {
    let ports = port.map_or(PORT..=PORT + PORTS - 1, |port| port..=port);
    let addresses: Vec<SocketAddr> = ports.map(|port| SocketAddr::new(host, port)).collect();
    Monitor::start(runs, &addresses)
}
