//! Progress of a restore, on stderr: lines that redraw themselves on a terminal, plain lines at intervals elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::progress::Audience;
use super::size;
use crate::restore::{RestorePhase, RestoreProgress, RestoreSnapshot};

/// Interval on a terminal.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);

/// Length of a bar, in steps.
const STEPS: u64 = 1_000;

/// A running display; [`Display::finish`] ends it.
pub(super) struct Display {
    bars: Option<MultiProgress>,
    task: Option<tokio::task::JoinHandle<()>>,
}

/// Shows the progress of tables until finished, `every` so often where it is no terminal that shows it.
pub(super) fn start(
    tables: Vec<(String, Arc<RestoreProgress>)>,
    audience: Audience,
    every: Duration,
) -> Display {
    if audience != Audience::People {
        return Display { bars: None, task: None };
    }
    let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
    let shown = bars.clone();
    let task = tokio::spawn(async move {
        let mut drawn: Vec<Option<ProgressBar>> = vec![None; tables.len()];
        loop {
            tokio::time::sleep(if shown.is_some() { TERMINAL_INTERVAL } else { every }).await;
            for ((table, progress), drawn) in tables.iter().zip(&mut drawn) {
                let now = progress.snapshot();
                let working = !matches!(now.phase, RestorePhase::Waiting | RestorePhase::Ended);
                match &shown {
                    None if working => eprintln!("{table}: {}", line(&now)),
                    Some(all) if working => {
                        let bar = drawn.get_or_insert_with(|| all.add(bar(table)));
                        bar.set_position((now.share_done() * STEPS as f64) as u64);
                        bar.set_message(line(&now));
                        bar.tick();
                    }
                    Some(all) => {
                        if let Some(bar) = drawn.take() {
                            bar.finish_and_clear();
                            all.remove(&bar);
                        }
                    }
                    None => {}
                }
            }
        }
    });
    Display { bars, task: Some(task) }
}

fn bar(table: &str) -> ProgressBar {
    let bar = ProgressBar::new(STEPS);
    let style = ProgressStyle::with_template("{spinner} {prefix} [{bar:24}] {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("=> "));
    bar.set_prefix(table.to_owned());
    bar
}

impl Display {
    /// Removes the lines.
    pub(super) fn finish(self) {
        if let Some(task) = self.task {
            task.abort();
        }
        if let Some(bars) = self.bars {
            // A terminal that is gone needs no cleaning.
            let _ = bars.clear();
        }
    }

    /// Says something above the lines, on stderr.
    pub(super) fn say(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}

/// `61 %, 1,234,000 of 2,000,000 rows, 456.0 MiB sent, 61,700 rows/s, 12 refused`.
fn line(now: &RestoreSnapshot) -> String {
    match now.phase {
        RestorePhase::Preparing => return "preparing".to_owned(),
        RestorePhase::Finishing => return "finishing".to_owned(),
        RestorePhase::Waiting | RestorePhase::Writing | RestorePhase::Ended => {}
    }
    let seconds = (now.elapsed_ms as f64 / 1_000.0).max(1e-3);
    let mut text = format!(
        "{:.0} %, {} of {} rows, {} sent, {} rows/s",
        now.share_done() * 100.0,
        size::grouped(now.rows_done),
        size::grouped(now.rows_total),
        size::human(now.request_bytes),
        size::grouped((now.rows_done as f64 / seconds) as u64),
    );
    if now.rows_rejected > 0 {
        text.push_str(&format!(", {} refused", size::grouped(now.rows_rejected)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_is_done_and_what_was_refused() {
        let now = RestoreSnapshot {
            phase: RestorePhase::Writing,
            elapsed_ms: 2_000,
            rows_total: 4_000,
            rows_done: 1_000,
            rows_rejected: 3,
            request_bytes: 5 << 20,
            ..RestoreSnapshot::default()
        };
        assert_eq!(line(&now), "25 %, 1,000 of 4,000 rows, 5.0 MiB sent, 500 rows/s, 3 refused");
        let preparing = RestoreSnapshot { phase: RestorePhase::Preparing, ..now };
        assert_eq!(line(&preparing), "preparing");
    }
}
