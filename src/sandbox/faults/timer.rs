//! Waits that end when they should: about 0.1 ms late on a machine with a core to spare.
//!
//! The runtime's own timer counts whole milliseconds and rounds up, which is 5 % of a latency of 20 ms. Here one thread
//! sleeps until the earliest wait is over and wakes its task; it spins for none.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::LazyLock;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Instant;

use tokio::sync::oneshot;

/// The thread, which starts with the first wait and lives as long as the process; `None` if the system has no thread left.
static TIMER: LazyLock<Option<Sender<Wait>>> = LazyLock::new(|| {
    let (sender, waits) = mpsc::channel();
    let thread = std::thread::Builder::new().name("sandbox-timer".to_owned()).spawn(move || wake(&waits));
    thread.ok().map(|_| sender)
});

/// Returns at `at`, or at once if that is over.
pub(super) async fn wait_until(at: Instant) {
    if at <= Instant::now() {
        return;
    }
    let (over, is_over) = oneshot::channel();
    let taken = TIMER.as_ref().is_some_and(|timer| timer.send(Wait { at, over }).is_ok());
    match taken {
        // An error would mean that the thread is gone: then the wait is over as well.
        true => drop(is_over.await),
        false => tokio::time::sleep_until(at.into()).await,
    }
}

/// One call that waits.
struct Wait {
    at: Instant,
    over: oneshot::Sender<()>,
}

impl Ord for Wait {
    fn cmp(&self, other: &Wait) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for Wait {
    fn partial_cmp(&self, other: &Wait) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Wait {
    fn eq(&self, other: &Wait) -> bool {
        self.at == other.at
    }
}

impl Eq for Wait {}

/// Ends every wait at its time, until nobody can ask for another.
fn wake(waits: &Receiver<Wait>) {
    let mut pending = BinaryHeap::new();
    loop {
        let next = match pending.peek() {
            None => waits.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(Reverse(Wait { at, .. })) => {
                waits.recv_timeout(at.saturating_duration_since(Instant::now()))
            }
        };
        match next {
            Ok(wait) => pending.push(Reverse(wait)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        while pending.peek().is_some_and(|Reverse(wait)| wait.at <= now) {
            if let Some(Reverse(Wait { over, .. })) = pending.pop() {
                // Whoever waited may have gone away.
                let _ = over.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn waits_end_in_the_order_of_their_times_and_never_early() {
        let began = Instant::now();
        let order = std::sync::Mutex::new(Vec::new());
        let wait = async |ms: u64| {
            wait_until(began + Duration::from_millis(ms)).await;
            assert!(began.elapsed() >= Duration::from_millis(ms), "{ms} ms");
            order.lock().unwrap().push(ms);
        };
        tokio::join!(wait(60), wait(0), wait(20), wait(40));
        assert_eq!(*order.lock().unwrap(), [0, 20, 40, 60]);
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_does_not_hold_up_the_others() {
        let began = Instant::now();
        let given_up =
            tokio::time::timeout(Duration::from_millis(1), wait_until(began + Duration::from_secs(3_600)));
        assert!(given_up.await.is_err());
        wait_until(began + Duration::from_millis(10)).await;
        assert!(began.elapsed() < Duration::from_secs(1_800));
    }
}
