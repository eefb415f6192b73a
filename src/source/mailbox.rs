//! Hands values from one thread to others. For a live source only the newest value is kept: a value that nobody has taken
//! is replaced by the next. For a file all values are kept: the sender waits while the mailbox is full.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What happens when a value is put into a full mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The new value replaces the one that waits, which is counted as replaced. One value makes the mailbox full.
    Newest,
    /// The sender waits until fewer than this many values wait.
    All(usize),
}

/// Hands over values of type `T`, and after the last of them perhaps an error of type `E`. Values that the receiver has
/// used are given back to the sender, which fills their buffers again.
#[derive(Debug)]
pub(crate) struct Mailbox<T, E> {
    keep: Keep,
    state: Mutex<State<T, E>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T, E> {
    /// Values that nobody has taken yet, in order.
    waiting: VecDeque<T>,
    /// Comes after the values that wait.
    error: Option<E>,
    /// Values given back or replaced, for the sender.
    used: Vec<T>,
    /// Number of values replaced.
    replaced: u64,
    closed: bool,
}

/// The mailbox is closed and takes no more values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

impl<T, E> Mailbox<T, E> {
    /// An empty mailbox.
    pub(crate) fn new(keep: Keep) -> Self {
        let state = State { waiting: VecDeque::new(), error: None, used: Vec::new(), replaced: 0, closed: false };
        Self { keep, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Puts a value in, and removes an error that nobody has taken. Returns a used value, if there is one.
    ///
    /// # Errors
    /// If the mailbox is closed.
    pub(crate) fn put(&self, value: T) -> Result<Option<T>, Closed> {
        let mut state = self.state();
        match self.keep {
            Keep::Newest => {
                if let Some(late) = state.waiting.pop_front() {
                    state.replaced += 1;
                    state.used.push(late);
                }
            }
            Keep::All(most) => {
                while state.waiting.len() >= most && !state.closed {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        if state.closed {
            return Err(Closed);
        }
        state.error = None;
        state.waiting.push_back(value);
        self.changed.notify_all();
        Ok(state.used.pop())
    }

    /// Puts an error in, after the values that wait.
    pub(crate) fn fail(&self, error: E) {
        self.state().error = Some(error);
        self.changed.notify_all();
    }

    /// Closes the mailbox to new values; those that wait can still be taken.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Takes the first value, or the error after the last one; waits for either. Returns `None` if there is neither at
    /// `until`, or if the mailbox is closed and empty.
    ///
    /// # Errors
    /// The error that was put in.
    pub(crate) fn take(&self, until: Option<Instant>) -> Result<Option<T>, E> {
        let mut state = self.state();
        loop {
            if let Some(value) = state.waiting.pop_front() {
                self.changed.notify_all();
                return Ok(Some(value));
            }
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if state.closed || left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            state = match left {
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Gives back a used value, which a later [`Self::put`] returns to the sender.
    pub(crate) fn give_back(&self, used: T) {
        self.state().used.push(used);
    }

    /// Number of values replaced so far.
    pub(crate) fn replaced(&self) -> u64 {
        self.state().replaced
    }

    /// Whether the mailbox is closed to new values. Only a camera asks.
    #[cfg(any(test, feature = "camera"))]
    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Locks the state; a poisoned lock is still usable.
    fn state(&self) -> MutexGuard<'_, State<T, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_newest_value_replaces_one_that_nobody_took_and_is_counted() {
        let mailbox = Mailbox::<_, ()>::new(Keep::Newest);
        assert_eq!(mailbox.put(1), Ok(None));
        assert_eq!(mailbox.put(2), Ok(Some(1)), "its buffer is filled again");
        assert_eq!(mailbox.put(3), Ok(Some(2)));
        assert_eq!((mailbox.take(None), mailbox.replaced()), (Ok(Some(3)), 2));
        mailbox.give_back(3);
        assert_eq!(mailbox.put(4), Ok(Some(3)));
        assert_eq!((mailbox.take(None), mailbox.replaced()), (Ok(Some(4)), 2));
    }

    #[test]
    fn where_all_are_kept_the_sender_waits_and_the_order_stays() {
        let mailbox = Mailbox::<u32, ()>::new(Keep::All(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..100).for_each(|i| assert!(mailbox.put(i).is_ok()));
                mailbox.close();
            });
            for i in 0..100 {
                assert!(mailbox.state().waiting.len() <= 2);
                assert_eq!(mailbox.take(None), Ok(Some(i)));
            }
            assert_eq!(mailbox.take(None), Ok(None), "it is closed");
        });
        assert_eq!(mailbox.replaced(), 0);
    }

    #[test]
    fn an_error_comes_once_after_the_values_and_goes_if_a_value_comes() {
        let mailbox = Mailbox::new(Keep::Newest);
        mailbox.put(1).unwrap();
        mailbox.fail("lost");
        assert_eq!(mailbox.take(None), Ok(Some(1)));
        assert_eq!(mailbox.take(None), Err("lost"));
        assert_eq!(mailbox.take(Some(Instant::now())), Ok(None), "nothing is there in time");
        mailbox.fail("lost again");
        mailbox.put(2).unwrap();
        assert_eq!(mailbox.take(None), Ok(Some(2)));
        assert_eq!(mailbox.take(Some(Instant::now() + Duration::from_millis(5))), Ok(None));
    }

    #[test]
    fn closing_ends_waits_on_both_sides_and_keeps_what_waits() {
        let full = Mailbox::<_, ()>::new(Keep::All(1));
        full.put(1).unwrap();
        let empty = Mailbox::<i32, ()>::new(Keep::Newest);
        std::thread::scope(|scope| {
            let put = scope.spawn(|| full.put(2));
            let taken = scope.spawn(|| empty.take(None));
            std::thread::sleep(Duration::from_millis(20));
            full.close();
            empty.close();
            assert_eq!((put.join().unwrap(), taken.join().unwrap()), (Err(Closed), Ok(None)));
        });
        assert_eq!((full.take(None), full.take(None), full.is_closed()), (Ok(Some(1)), Ok(None), true));
    }
}
