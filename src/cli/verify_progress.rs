//! How far a verification is, on stderr: a line that redraws itself on a terminal, plain lines at intervals elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;

use super::size;
use crate::verify::VerifyProgress;

const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// A running display.
pub(super) struct Watching {
    bar: Option<ProgressBar>,
    task: Option<tokio::task::JoinHandle<()>>,
}

/// Shows `progress` until finished, to nobody if `silent`.
pub(super) fn watch(progress: Arc<VerifyProgress>, silent: bool) -> Watching {
    if silent {
        return Watching { bar: None, task: None };
    }
    let bar = std::io::stderr().is_terminal().then(ProgressBar::new_spinner);
    let drawing = bar.clone();
    let task = tokio::spawn(async move {
        loop {
            match &drawing {
                Some(bar) => {
                    bar.set_message(line(&progress));
                    bar.tick();
                    tokio::time::sleep(TERMINAL_INTERVAL).await;
                }
                None => {
                    tokio::time::sleep(PLAIN_INTERVAL).await;
                    eprintln!("{}", line(&progress));
                }
            }
        }
    });
    Watching { bar, task: Some(task) }
}

impl Watching {
    /// Removes the line.
    pub(super) fn finish(self) {
        if let Some(task) = self.task {
            task.abort();
        }
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `12 of 40, 1.2 GiB read, 3,000,000 rows`.
fn line(progress: &VerifyProgress) -> String {
    let count = progress.count();
    format!(
        "{} of {}, {} read, {} rows",
        size::grouped(count.done),
        size::grouped(count.planned),
        size::human(count.bytes),
        size::grouped(count.rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_is_done() {
        let progress = VerifyProgress::default();
        progress.plan(40);
        progress.file(3 << 20, 1_200);
        progress.looked();
        assert_eq!(line(&progress), "2 of 40, 3.0 MiB read, 1,200 rows");
    }
}
