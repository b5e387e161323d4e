//! Progress: lines that redraw themselves on a terminal, plain lines at intervals elsewhere (both on stderr), or events on
//! stdout.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::events::{Event, Rates, TableProgress};
use super::size;
use crate::backup::TableRun;
use crate::runtime::{Phase, ProgressSnapshot};

/// Interval on a terminal.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);

/// Length of a bar, in steps.
const STEPS: u64 = 1_000;

/// Ranges that are named as the slowest.
const SLOWEST: usize = 2;

/// For whom progress is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    Nobody,
    People,
    Scripts,
}

/// A running display; [`Display::finish`] ends it.
pub(super) struct Display {
    bars: Option<Bars>,
    task: Option<tokio::task::JoinHandle<()>>,
}

/// Shows the progress of `tables` until finished, `every` so often where it is not a terminal that shows it.
pub(super) fn start(tables: Vec<TableRun>, audience: Audience, every: Duration) -> Display {
    let on_terminal = std::io::stderr().is_terminal();
    match audience {
        Audience::Nobody => Display { bars: None, task: None },
        Audience::People if on_terminal => {
            let bars = Bars::new();
            let drawing = bars.clone();
            let task = tokio::spawn(async move {
                let mut drawing = drawing;
                loop {
                    drawing.draw(&tables);
                    tokio::time::sleep(TERMINAL_INTERVAL).await;
                }
            });
            Display { bars: Some(bars), task: Some(task) }
        }
        Audience::People | Audience::Scripts => {
            let task = tokio::spawn(async move {
                let mut last: Vec<Option<ProgressSnapshot>> = vec![None; tables.len()];
                loop {
                    tokio::time::sleep(every).await;
                    for (table, last) in tables.iter().zip(&mut last) {
                        let now = table.progress.snapshot();
                        if !now.phase.is_working() {
                            continue;
                        }
                        if audience == Audience::People {
                            eprintln!("{}: {}", table.table, line(&now, last.as_ref()));
                        } else {
                            let progress = TableProgress::new(&table.table, now.clone(), last.as_ref());
                            // Whoever read the events has gone; the backup goes on.
                            let _ = Event::Progress(Box::new(progress)).print();
                        }
                        *last = Some(now);
                    }
                }
            });
            Display { bars: None, task: Some(task) }
        }
    }
}

impl Display {
    /// Removes the lines.
    pub(super) fn finish(self) {
        if let Some(task) = self.task {
            task.abort();
        }
        if let Some(bars) = self.bars {
            // A terminal that is gone needs no cleaning.
            let _ = bars.all.clear();
        }
    }

    /// Says something above the lines, on stderr.
    pub(super) fn say(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.all.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}

/// One line per table that is being copied, below one for all where there are several.
#[derive(Clone)]
struct Bars {
    all: MultiProgress,
    tables: HashMap<usize, ProgressBar>,
    sum: Option<ProgressBar>,
}

impl Bars {
    fn new() -> Bars {
        Bars { all: MultiProgress::new(), tables: HashMap::new(), sum: None }
    }

    fn draw(&mut self, tables: &[TableRun]) {
        let snapshots: Vec<_> = tables.iter().map(|table| table.progress.snapshot()).collect();
        if tables.len() > 1 {
            let sum = self.sum.get_or_insert_with(|| self.all.add(bar("{spinner} {msg}")));
            sum.set_message(sum_line(&snapshots));
            sum.tick();
        }
        for (index, (table, now)) in tables.iter().zip(&snapshots).enumerate() {
            if !now.phase.is_working() {
                if let Some(bar) = self.tables.remove(&index) {
                    bar.finish_and_clear();
                    self.all.remove(&bar);
                }
                continue;
            }
            let bar = self.tables.entry(index).or_insert_with(|| {
                let bar = self.all.add(bar("{spinner} {prefix} [{bar:24}] {msg}"));
                bar.set_prefix(table.table.clone());
                bar
            });
            bar.set_position((now.share_read * STEPS as f64) as u64);
            bar.set_message(line(now, None));
            bar.tick();
        }
    }
}

fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(STEPS);
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("=> "));
    bar
}

/// `3 of 12 tables, 1,234,000 rows, 456.0 MiB read`.
fn sum_line(tables: &[ProgressSnapshot]) -> String {
    let ended = tables.iter().filter(|table| table.phase == Phase::Ended).count();
    let sum = |count: fn(&ProgressSnapshot) -> u64| tables.iter().map(count).sum::<u64>();
    format!(
        "{ended} of {}, {} rows, {} read",
        size::counted(tables.len() as u64, "table"),
        size::grouped(sum(|table| table.rows)),
        size::human(sum(|table| table.response_bytes)),
    )
}

/// `61 %, 1,234,000 rows, 456.0 MiB read, 61,700 rows/s, 22.8 MiB/s, about 3 min left; most left: range 17 43 %`. Rates are since
/// `last`, or since the beginning.
fn line(now: &ProgressSnapshot, last: Option<&ProgressSnapshot>) -> String {
    match now.phase {
        Phase::Planning => return "planning".to_owned(),
        Phase::Committing => return "committing".to_owned(),
        Phase::Waiting | Phase::Scanning | Phase::Ended => {}
    }
    let mut text = format!(
        "{:.0} %, {} rows, {} read, {}",
        now.share_read * 100.0,
        size::grouped(now.rows),
        size::human(now.response_bytes),
        Rates::between(last, now).text(),
    );
    if let Some(left) = now.time_left() {
        text.push_str(&format!(", about {} left", duration(left.as_secs())));
    }
    let slowest = now.running.iter().take(SLOWEST);
    let slowest = slowest.map(|range| format!("range {} {:.0} %", range.id, range.share_left * 100.0));
    let slowest: Vec<_> = slowest.collect();
    if !slowest.is_empty() && now.splits_total > 1 {
        text.push_str(&format!("; most left: {}", slowest.join(", ")));
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
    use crate::runtime::RangeProgress;

    fn snapshot() -> ProgressSnapshot {
        ProgressSnapshot {
            phase: Phase::Scanning,
            elapsed_ms: 20_000,
            scanning_ms: 18_000,
            rows: 2_000_000,
            pages: 400,
            response_bytes: 700 << 20,
            splits_total: 100,
            splits_done: 10,
            share_read: 0.1,
            running: vec![
                RangeProgress { id: 17, pages: 3, share_left: 0.75 },
                RangeProgress { id: 3, pages: 30, share_left: 0.25 },
            ],
            ..ProgressSnapshot::default()
        }
    }

    #[test]
    fn a_line_says_rows_rates_what_is_left_and_where() {
        assert_eq!(
            line(&snapshot(), None),
            "10 %, 2,000,000 rows, 700.0 MiB read, 100,000 rows/s, 35.0 MiB/s, about 3 min left; most left: range 17 \
             75 %, range 3 25 %"
        );
        let planning = ProgressSnapshot { phase: Phase::Planning, ..ProgressSnapshot::default() };
        assert_eq!(line(&planning, None), "planning");
    }

    #[test]
    fn many_tables_have_a_line_for_all() {
        let ended = ProgressSnapshot { phase: Phase::Ended, ..snapshot() };
        let waiting = ProgressSnapshot::default();
        assert_eq!(sum_line(&[snapshot(), ended, waiting]), "1 of 3 tables, 4,000,000 rows, 1.4 GiB read");
    }

    #[test]
    fn rates_are_since_the_last_look() {
        let now = snapshot();
        let last = ProgressSnapshot { elapsed_ms: 10_000, rows: 1_900_000, ..now.clone() };
        assert!(line(&now, Some(&last)).contains("10,000 rows/s, 0 B/s"), "{}", line(&now, Some(&last)));
    }
}
