//! A request to stop, passed in as a value.

use tokio::sync::watch;

/// Why to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// The system or a supervisor.
    Terminate,
}

impl Signal {
    /// The exit code of a process that this signal ended.
    pub fn exit_code(self) -> u8 {
        match self {
            Signal::Interrupt => 130,
            Signal::Terminate => 143,
        }
    }
}

/// Both ends of a stop request; clones see the same request.
#[derive(Debug, Clone)]
pub struct Shutdown {
    sender: watch::Sender<Option<Signal>>,
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown { sender: watch::Sender::new(None) }
    }
}

impl Shutdown {
    /// Asks everybody to stop. The first reason stays.
    pub fn request(&self, signal: Signal) {
        self.sender.send_if_modified(|state| {
            let first = state.is_none();
            state.get_or_insert(signal);
            first
        });
    }

    /// The reason, once somebody asked.
    pub fn requested(&self) -> Option<Signal> {
        *self.sender.borrow()
    }

    /// Waits until somebody asks.
    pub async fn wait(&self) -> Signal {
        let mut receiver = self.sender.subscribe();
        loop {
            if let Some(signal) = *receiver.borrow_and_update() {
                return signal;
            }
            // `self` holds a sender, so the channel stays open.
            if receiver.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Requests a stop on SIGINT and SIGTERM; a second signal ends the process at once. Call once per process, inside the
    /// runtime. The listener lives as long as the runtime.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            loop {
                let signal = tokio::select! {
                    _ = interrupt.recv() => Signal::Interrupt,
                    _ = terminate.recv() => Signal::Terminate,
                };
                if shutdown.requested().is_some() {
                    std::process::exit(signal.exit_code().into());
                }
                shutdown.request(signal);
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_sees_the_first_reason() {
        let shutdown = Shutdown::default();
        let waiter = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.wait().await }
        });
        shutdown.request(Signal::Terminate);
        shutdown.request(Signal::Interrupt);
        assert_eq!(waiter.await.unwrap(), Signal::Terminate);
        assert_eq!(shutdown.requested().map(Signal::exit_code), Some(143));
    }
}
