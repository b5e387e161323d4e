//! Progress on stderr: a line that redraws itself on a terminal, a plain line every ten seconds elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::{Output, size};
use crate::runtime::{Progress, ProgressSnapshot};

/// Interval of plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// A running display; [`Display::finish`] ends it.
pub(super) struct Display {
    bar: ProgressBar,
    task: Option<tokio::task::JoinHandle<()>>,
}

/// Shows `progress` until finished.
pub(super) fn start(progress: Arc<Progress>, table: &str, output: Output) -> Display {
    if output.quiet {
        return Display { bar: ProgressBar::hidden(), task: None };
    }
    let on_terminal = std::io::stderr().is_terminal();
    let bar = if on_terminal { ProgressBar::new(1) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{spinner} {prefix} [{bar:24}] {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar.set_prefix(table.to_owned());
    let interval = if on_terminal { Duration::from_millis(200) } else { PLAIN_INTERVAL };
    let (ticking, table) = (bar.clone(), table.to_owned());
    let task = tokio::spawn(async move {
        let mut last = progress.snapshot();
        loop {
            tokio::time::sleep(interval).await;
            let now = progress.snapshot();
            if on_terminal {
                ticking.set_length(now.splits_total.max(1));
                ticking.set_position(now.splits_done);
                ticking.set_message(line(&now, &now));
                ticking.tick();
            } else {
                eprintln!("{table}: {}", line(&now, &last));
            }
            last = now;
        }
    });
    Display { bar, task: Some(task) }
}

impl Display {
    /// Removes the line.
    pub(super) fn finish(self) {
        if let Some(task) = self.task {
            task.abort();
        }
        self.bar.finish_and_clear();
    }
}

/// `1,234,000 rows, 456.0 MiB read, 61,700 rows/s, 22.8 MiB/s, 12/128 ranges, about 3 min left`.
fn line(now: &ProgressSnapshot, last: &ProgressSnapshot) -> String {
    // On a terminal the rate is the average; plain lines say what happened since the last one.
    let since = if now == last { 0 } else { last.elapsed_ms };
    let (rows, bytes) = if now == last {
        (now.rows, now.response_bytes)
    } else {
        (now.rows - last.rows, now.response_bytes - last.response_bytes)
    };
    let seconds = ((now.elapsed_ms - since) as f64 / 1000.0).max(1e-3);
    let mut text = format!(
        "{} rows, {} read, {} rows/s, {}/s, {}/{} ranges",
        size::grouped(now.rows),
        size::human(now.response_bytes),
        size::grouped((rows as f64 / seconds) as u64),
        size::human((bytes as f64 / seconds) as u64),
        now.splits_done,
        now.splits_total,
    );
    if now.splits_done > 0 && now.splits_total > now.splits_done {
        let left = now.elapsed_ms / 1000 * (now.splits_total - now.splits_done) / now.splits_done;
        text.push_str(&format!(", about {} left", duration(left)));
    }
    text
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..=90 => format!("{seconds} s"),
        91..=5400 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_rows_rates_and_what_is_left() {
        let now = ProgressSnapshot {
            elapsed_ms: 20_000,
            rows: 2_000_000,
            pages: 400,
            response_bytes: 700 << 20,
            stored_bytes: 0,
            files: 0,
            read_capacity_units: 0,
            splits_total: 100,
            splits_done: 10,
            share_read: 0.1,
            running: Vec::new(),
        };
        assert_eq!(
            line(&now, &now),
            "2,000,000 rows, 700.0 MiB read, 100,000 rows/s, 35.0 MiB/s, 10/100 ranges, about 3 min left"
        );
    }
}
