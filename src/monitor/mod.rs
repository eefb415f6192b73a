//! The page that follows training runs: reads their records while they grow, and serves curves, recipes and pictures to a browser on this
//! machine. It only reads, and only within the runs' folders.

mod answers;
mod curve;
mod record;
mod run;
mod server;
mod tail;
mod watch;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Error, Result};
use watch::Watch;

/// Time from one look at the runs to the next.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A monitor that serves its page until it is dropped.
#[derive(Debug)]
pub struct Monitor {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Monitor {
    /// Starts to follow the runs in `folders`, each the folder of a run or one with runs in it, and serves the page at the first of
    /// `addresses` that is free.
    ///
    /// # Errors
    /// If none of the addresses can be listened at.
    pub fn start(folders: Vec<PathBuf>, addresses: &[SocketAddr]) -> Result<Self> {
        let listener = TcpListener::bind(addresses).map_err(|e| {
            let first = addresses.first().map_or(String::new(), ToString::to_string);
            Error::Setting(format!("can't serve the monitor at {first}: {e}; choose another port by --port"))
        })?;
        let fail = |e: std::io::Error| Error::Backend(format!("the monitor can't be served: {e}"));
        listener.set_nonblocking(true).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let stop = Arc::new(AtomicBool::new(false));
        let watch = Arc::new(RwLock::new(Watch::new(folders)));
        let (news, heard) = tokio::sync::watch::channel(0);
        let (look, serve) = (Arc::clone(&watch), Arc::clone(&stop));
        let stopped = Arc::clone(&stop);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(fail)?;
        let threads = vec![
            std::thread::spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    let (more, version) = {
                        let mut watch = look.write().unwrap_or_else(PoisonError::into_inner);
                        (watch.poll(), watch.version)
                    };
                    news.send_if_modified(|known| std::mem::replace(known, version) != version);
                    // Also where there is more: those who wait to read come first.
                    std::thread::sleep(if more { Duration::from_millis(1) } else { LOOK_EVERY });
                }
            }),
            std::thread::spawn(move || {
                runtime.block_on(async {
                    let router = server::router(watch, heard, address);
                    match tokio::net::TcpListener::from_std(listener) {
                        Ok(listener) => drop(tokio::spawn(async { axum::serve(listener, router).await })),
                        Err(e) => tracing::error!("the monitor can't be served: {e}"),
                    }
                    while !serve.load(Ordering::Relaxed) {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                });
                // Pages that are open hold their connections for ever.
                runtime.shutdown_background();
            }),
        ];
        Ok(Self { address, stop, threads })
    }

    /// Where the page is.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}
