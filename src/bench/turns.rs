//! Stages that take turns, and what they took.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::Stage;

/// Work to measure, in the order in which it is done in every round.
#[derive(Default)]
pub struct Turns<'a> {
    turns: Vec<Turn<'a>>,
}

struct Turn<'a> {
    /// `None` is not measured.
    stage: Option<Stage>,
    work: Box<dyn FnMut() + 'a>,
}

impl<'a> Turns<'a> {
    /// Adds a stage; what its work returns is dropped within its time.
    pub fn stage<T>(self, stage: Stage, work: impl FnMut() -> T + 'a) -> Turns<'a> {
        self.push(Some(stage), work)
    }

    /// Adds work that is not measured, so that the stage behind it does not pay for what the one before did to the memory.
    pub fn unmeasured<T>(self, work: impl FnMut() -> T + 'a) -> Turns<'a> {
        self.push(None, work)
    }

    fn push<T>(mut self, stage: Option<Stage>, mut work: impl FnMut() -> T + 'a) -> Turns<'a> {
        self.turns.push(Turn { stage, work: Box::new(move || drop(black_box(work()))) });
        self
    }

    /// Measures `rounds` rounds after one that warms up.
    pub fn run(mut self, rounds: usize) -> Measured {
        let mut measured = Measured::default();
        for round in 0..=rounds {
            for Turn { stage, work } in &mut self.turns {
                let began = cpu_time();
                work();
                let milliseconds = (cpu_time() - began).as_secs_f64() * 1e3;
                if let (Some(stage), 1..) = (stage, round) {
                    measured.milliseconds.entry(*stage).or_default().push(milliseconds);
                }
            }
        }
        measured
    }
}

/// CPU milliseconds of each stage, one per round.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    milliseconds: BTreeMap<Stage, Vec<f64>>,
}

impl Measured {
    /// Puts the stages of `other` to these.
    #[must_use]
    pub fn and(mut self, other: Measured) -> Measured {
        self.milliseconds.extend(other.milliseconds);
        self
    }

    /// The stages that were measured.
    pub fn stages(&self) -> impl Iterator<Item = Stage> + '_ {
        self.milliseconds.keys().copied()
    }

    /// Median CPU milliseconds of a stage.
    pub fn milliseconds(&self, stage: Stage) -> Option<f64> {
        median(self.milliseconds.get(&stage)?.clone())
    }

    /// Median of the rounds' ratios: the stage `above` to the stages `below` together.
    pub fn ratio(&self, above: Stage, below: &[Stage]) -> Option<f64> {
        let above = self.milliseconds.get(&above)?;
        let below: Vec<_> = below.iter().map(|stage| self.milliseconds.get(stage)).collect::<Option<_>>()?;
        let together = |round: usize| below.iter().map(|times| times[round]).sum::<f64>();
        median(above.iter().enumerate().map(|(round, time)| time / together(round)).collect())
    }
}

/// The middle one of `values`; of an even number the upper of the two.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// CPU time that this thread has used.
pub fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_gives_each_stage_its_turn_and_the_first_does_not_count() {
        let order = std::cell::RefCell::new(Vec::new());
        let measured = Turns::default()
            .stage(Stage::Copy, || order.borrow_mut().push(Stage::Copy))
            .unmeasured(|| order.borrow_mut().push(Stage::Walk))
            .stage(Stage::Decode, || order.borrow_mut().push(Stage::Decode))
            .run(2);
        assert_eq!(order.into_inner(), [Stage::Copy, Stage::Walk, Stage::Decode].repeat(3));
        assert_eq!(measured.milliseconds[&Stage::Copy].len(), 2);
        assert_eq!(measured.stages().collect::<Vec<_>>(), [Stage::Copy, Stage::Decode]);
    }

    #[test]
    fn a_ratio_is_the_median_of_the_ratios_not_the_ratio_of_the_medians() {
        let milliseconds = BTreeMap::from([
            (Stage::Copy, vec![1.0, 10.0, 100.0]),
            (Stage::Walk, vec![1.0, 10.0, 100.0]),
            (Stage::Decode, vec![4.0, 60.0, 50.0]),
        ]);
        let measured = Measured { milliseconds };
        assert_eq!(measured.milliseconds(Stage::Decode), Some(50.0));
        assert_eq!(measured.ratio(Stage::Decode, &[Stage::Copy]), Some(4.0));
        assert_eq!(measured.ratio(Stage::Decode, &[Stage::Copy, Stage::Walk]), Some(2.0));
        assert_eq!(measured.ratio(Stage::Decode, &[Stage::Pipeline]), None);
    }
}
