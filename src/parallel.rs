//! Calls a function for many items on several threads, and gives the results in the order of the items.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_channel::bounded;

use crate::error::{Error, Result};

/// Most items under way for each thread: being worked on, or done and waiting for an earlier one.
const UNDER_WAY: usize = 4;

/// Runs `work`, and turns a panic into an error.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
        Err(Error::Backend(format!("a fault of facecascade: {}", text.unwrap_or("panic"))))
    })
}

/// Calls `work` for each item on `threads` threads, and hands the results to `take` on the caller's thread: in the order
/// of the items, each as soon as those before it are there. At most four items for each thread are under way, so that
/// memory does not grow with the number of items.
///
/// # Errors
/// The first error of `take`, or the first panic of `work`, as an error. Items being worked on then are finished; no other item
/// is begun.
pub fn in_order<I: Send, T: Send, E: From<Error>>(
    items: impl IntoIterator<Item = I>,
    threads: usize,
    work: impl Fn(I) -> T + Sync,
    mut take: impl FnMut(T) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let work = |item| caught(|| Ok(work(item)));
    let mut items = items.into_iter().fuse();
    if threads <= 1 {
        return items.try_for_each(|item| take(work(item)?));
    }
    std::thread::scope(|scope| {
        // Leaving this closure closes both channels, which ends all threads.
        let (give, given) = bounded(UNDER_WAY * threads);
        let (send, results) = bounded(UNDER_WAY * threads);
        for _ in 0..threads {
            let (given, send, work) = (given.clone(), send.clone(), &work);
            scope.spawn(move || {
                given.iter().try_for_each(|(number, item)| send.send((number, work(item))).map_err(drop))
            });
        }
        drop((given, send));
        let closed = || Error::Backend("threads ended before their work".into());
        let (mut begun, mut due, mut early) = (0, 0, BTreeMap::new());
        loop {
            while begun < due + UNDER_WAY * threads
                && let Some(item) = items.next()
            {
                give.send((begun, item)).map_err(|_| closed())?;
                begun += 1;
            }
            if due == begun {
                return Ok(());
            }
            if let Some(result) = early.remove(&due) {
                due += 1;
                take(result?)?;
            } else {
                let (number, result) = results.recv().map_err(|_| closed())?;
                early.insert(number, result);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn results_come_in_order_whatever_the_threads_and_an_error_stops_all() {
        for threads in [1, 2, 7] {
            let mut got = Vec::new();
            let work = |i: usize| {
                std::thread::sleep(Duration::from_micros((i * 7919 % 13) as u64 * 50));
                i
            };
            let keep = |i| {
                got.push(i);
                Ok::<_, Error>(())
            };
            in_order(0..60, threads, work, keep).unwrap();
            assert_eq!(got, (0..60).collect::<Vec<_>>());
            let done = AtomicUsize::new(0);
            let counted = |_| done.fetch_add(1, Ordering::Relaxed);
            assert!(in_order(0..1_000_000, threads, counted, |_| Err(Error::Setting("no".into()))).is_err());
            assert!(done.into_inner() < 1_000_000);
        }
    }

    #[test]
    fn no_item_is_no_result_and_a_panic_is_an_error_behind_the_results_before_it() {
        for threads in [1, 3] {
            let nothing = |_: usize| unreachable!("there is no item");
            in_order(0..0, threads, nothing, |(): ()| Ok::<_, Error>(())).unwrap();
            let mut got = 0;
            let work = |i: usize| assert!(i != 20, "injected");
            let error = in_order(0..100, threads, work, |()| {
                got += 1;
                Ok::<_, Error>(())
            });
            assert!(error.unwrap_err().to_string().contains("injected"));
            assert_eq!(got, 20);
        }
    }

    #[test]
    fn items_are_begun_only_a_little_ahead_of_the_results() {
        let (begun, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |_| {
            let ahead = begun.fetch_add(1, Ordering::Relaxed).saturating_sub(taken.load(Ordering::Relaxed));
            assert!(ahead <= 3 * UNDER_WAY + 1, "{ahead} ahead");
        };
        in_order(0..500, 3, work, |()| {
            std::thread::sleep(Duration::from_micros(20));
            taken.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Error>(())
        })
        .unwrap();
    }
}
