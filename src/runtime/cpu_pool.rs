//! The crossing from async to CPU and back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::{Error, Kind, Result};

/// Runs CPU work on its own threads while an async task waits for the result.
///
/// A job that nobody waits for any more is skipped. A job that panics gives [`Kind::Internal`] to its waiter and
/// leaves the pool alive.
#[derive(Clone)]
pub struct CpuPool {
    pool: Arc<rayon::ThreadPool>,
}

impl CpuPool {
    /// A pool of `threads`; 0 means one per core.
    ///
    /// # Errors
    /// [`Kind::Io`] when the system gives no threads.
    pub fn new(threads: usize) -> Result<CpuPool> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("cpu-{index}"))
            .build()
            .map_err(|error| Error::new(Kind::Io, "start the CPU threads").source(error))?;
        Ok(CpuPool { pool: Arc::new(pool) })
    }

    /// Runs `job` on the pool and waits for its result.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        self.pool.spawn(move || {
            if sender.is_closed() {
                return;
            }
            // The receiver may have gone meanwhile; then the result is not wanted.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(job)));
        });
        match receiver.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(panic)) => {
                Err(Error::new(Kind::Internal, "finish a CPU job").because(panic_text(&*panic)))
            }
            Err(_) => Err(Error::new(Kind::Internal, "finish a CPU job").because("the pool dropped it")),
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("it panicked: {}", text.unwrap_or_else(|| "without a message".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panicking_job_is_an_error_and_the_pool_lives_on() {
        let pool = CpuPool::new(1).unwrap();
        let error = pool.run(|| panic!("on purpose")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Internal);
        assert!(error.to_string().contains("on purpose"), "{error}");
        assert_eq!(pool.run(|| 6 * 7).await.unwrap(), 42);
    }
}
