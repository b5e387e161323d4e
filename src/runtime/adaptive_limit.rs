//! How many requests to have on their way at once, learnt from what becomes of them. Pure: time comes in with each
//! request, nothing waits here.
//!
//! Between windows of requests the throughput is compared, measured by Little's law as requests in flight over their
//! mean latency, which does not care how they bunch up:
//!
//! - **Slow start**: the limit doubles as long as at least half of each doubling arrives as throughput. The last
//!   doubling that did not is taken back to where its throughput is reached.
//! - **Steady**: now and then an eighth more or less is tried for one window. More is kept if at least half of it arrives
//!   as throughput, less is kept if at most half of it is lost. So the limit stands where more requests only wait
//!   for each other, and follows when that place moves: each try of more that is kept doubles the next one, up to half
//!   the limit. Tries that change nothing become rarer.
//! - **Latency** that doubles while the throughput falls takes 30 % off at once: somebody else has the capacity now.
//! - **A refusal** for want of capacity halves the limit. It then climbs back to just below the limit that was refused,
//!   and stays there a while before it tries more, longer each time that is refused again, but never so long that more
//!   than a quarter of a second's work is lost.
//!
//! Windows in which the callers did not use the limit say nothing and change nothing.

use std::time::Duration;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Answered,
    /// It was refused for want of capacity.
    Throttled,
}

/// One finished request. Times count from any fixed moment.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// When it was sent.
    pub began: Duration,
    /// When its answer was complete.
    pub ended: Duration,
    /// Requests in flight when it was sent, itself included.
    pub in_flight: u32,
    /// What became of it.
    pub outcome: Outcome,
}

/// Limit that a new connection starts from.
const START: u32 = 4;

/// Requests in a window at least; more when the limit is above half of it.
const SMALLEST_WINDOW: u32 = 8;

/// Part of a change in concurrency that has to arrive as throughput.
const WORTHWHILE: f64 = 0.5;

/// Part of the limit that is tried more or less; a smaller one upwards near where the service refused. The largest is what
/// tries that were kept one after the other grow to.
const STEP: f64 = 1.0 / 8.0;
const STEP_NEAR_WALL: f64 = 1.0 / 32.0;
const LARGEST_STEP: f64 = 1.0 / 2.0;

/// Windows between two tries, at most.
const LONGEST_GAP: u32 = 16;

/// Refusals within this time after a cut are echoes of what caused it: services count by the second.
const ECHO: Duration = Duration::from_secs(1);

/// Where the climb after a refusal ends, as a part of the limit that was refused, and up to where that limit is still the
/// one that was refused, by one request at least.
const BELOW_WALL: f64 = 0.95;
const ABOVE_WALL: f64 = 1.2;

/// Work that is lost at most by one stay just below where the service refused, in time at the wall; an eighth of it at
/// first.
const HOLD_COSTS: Duration = Duration::from_millis(250);

/// The limit and what it was learnt from.
#[derive(Debug)]
pub struct AdaptiveLimit {
    floor: f64,
    ceiling: f64,
    limit: f64,
    phase: Phase,
    window: Window,
    /// When the limit changed last; older requests say nothing about it.
    changed: Duration,
    /// Windows until the next try.
    countdown: u32,
    gap: u32,
    next_try: Direction,
    /// Tries of more that were kept, one after the other.
    streak: u32,
    wall: Option<Wall>,
    /// No try before this time.
    hold: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Holds what the limit before brought.
    SlowStart(Option<Measured>),
    /// Climbs back after a refusal.
    Recovery,
    /// Holds what the limit usually brings.
    Steady(Option<Measured>),
    /// One window with another limit; holds what the old one brought.
    Try(Measured),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// What a limit brought.
#[derive(Debug, Clone, Copy)]
struct Measured {
    limit: f64,
    /// Requests per second.
    throughput: f64,
    /// Mean, in seconds.
    latency: f64,
}

/// Where the service refused, and how long to stay below.
#[derive(Debug, Clone, Copy)]
struct Wall {
    limit: f64,
    cut: Duration,
    /// How often it was found again.
    confirmed: u32,
}

#[derive(Debug, Default)]
struct Window {
    requests: u32,
    at_limit: u32,
    in_flight: f64,
    latency: Duration,
}

impl AdaptiveLimit {
    /// A limit that stays within `floor` and `ceiling`, both included and at least 1.
    pub fn new(floor: u32, ceiling: u32) -> AdaptiveLimit {
        let floor = floor.max(1);
        let ceiling = ceiling.max(floor);
        AdaptiveLimit {
            floor: f64::from(floor),
            ceiling: f64::from(ceiling),
            limit: f64::from(START.clamp(floor, ceiling)),
            phase: Phase::SlowStart(None),
            window: Window::default(),
            changed: Duration::ZERO,
            countdown: 1,
            gap: 1,
            next_try: Direction::Up,
            wall: None,
            hold: Duration::ZERO,
            streak: 0,
        }
    }

    /// Requests that may be in flight now.
    pub fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// Learns from one request. The limit may change.
    pub fn record(&mut self, sample: Sample) {
        match sample.outcome {
            Outcome::Throttled => self.refused(sample),
            Outcome::Answered if sample.began >= self.changed => {
                let size = match self.phase {
                    // Nothing is measured: an answer each says that there is room.
                    Phase::Recovery => self.limit(),
                    _ => (2 * self.limit()).max(SMALLEST_WINDOW),
                };
                if self.window.add(sample, self.limit(), size) {
                    let window = std::mem::take(&mut self.window);
                    self.end_window(&window, sample.ended);
                }
            }
            Outcome::Answered => {}
        }
    }

    fn refused(&mut self, sample: Sample) {
        let confirmed = match self.wall {
            Some(wall) if sample.began < wall.cut => return,
            Some(wall) if sample.ended < wall.cut + ECHO => return self.still_refused(sample.ended),
            // Refused at about the same limit again: so much is known now.
            Some(wall) if wall.is_about(self.limit) => wall.confirmed + 1,
            _ => 0,
        };
        self.wall = Some(Wall { limit: self.limit, cut: sample.ended, confirmed });
        self.phase = Phase::Recovery;
        self.streak = 0;
        self.set(self.limit / 2.0, sample.ended);
    }

    /// There is no room yet: what was answered meanwhile does not show any.
    fn still_refused(&mut self, now: Duration) {
        self.window = Window::default();
        if let Phase::Try(before) = self.phase {
            self.settle(before.limit, now);
        }
    }

    fn end_window(&mut self, window: &Window, now: Duration) {
        if window.at_limit * 2 < window.requests {
            // The callers had no use for the limit. A try is over; everything else stays as it is.
            if let Phase::Try(before) = self.phase {
                self.settle(before.limit, now);
            }
            return;
        }
        let latency = window.latency.as_secs_f64() / f64::from(window.requests);
        let in_flight = window.in_flight / f64::from(window.requests);
        let measured = Measured { limit: self.limit, throughput: in_flight / latency.max(1e-9), latency };
        match self.phase {
            Phase::SlowStart(before) => self.slow_start(before, measured, now),
            Phase::Recovery => self.recover(now),
            Phase::Steady(usual) => self.steady(usual, measured, now),
            Phase::Try(before) => self.judge(before, measured, now),
        }
    }

    fn slow_start(&mut self, before: Option<Measured>, measured: Measured, now: Duration) {
        if let Some(before) = before.filter(|before| !measured.is_worth_more_than(before)) {
            let gained = (measured.throughput / before.throughput).max(1.0);
            return self.settle((before.limit * gained).min(measured.limit), now);
        }
        if self.limit >= self.ceiling {
            return self.settle(self.ceiling, now);
        }
        self.phase = Phase::SlowStart(Some(measured));
        self.set(self.limit * 2.0, now);
    }

    fn recover(&mut self, now: Duration) {
        let below_wall = self.wall.map_or(self.ceiling, |wall| wall.limit * BELOW_WALL);
        let next = (self.limit * 1.25).max(self.limit + 1.0);
        if next < below_wall {
            return self.set(next, now);
        }
        self.settle(below_wall.max(self.limit), now);
        self.next_try = Direction::Up;
        self.hold = now + self.wall.map_or(Duration::ZERO, |wall| wall.hold(self.limit));
    }

    fn steady(&mut self, usual: Option<Measured>, measured: Measured, now: Duration) {
        let usual = usual.unwrap_or(measured);
        if measured.latency > usual.latency * 2.0 && measured.throughput < usual.throughput {
            self.gap = 1;
            return self.settle(self.limit * 0.7, now);
        }
        // A slow average: one odd window is not what later ones are compared with.
        let blend = |old: f64, new: f64| old + (new - old) / 4.0;
        let usual = Measured {
            limit: self.limit,
            throughput: blend(usual.throughput, measured.throughput),
            latency: blend(usual.latency, measured.latency),
        };
        self.phase = Phase::Steady(Some(usual));
        self.countdown = self.countdown.saturating_sub(1);
        if self.countdown > 0 || now < self.hold {
            return;
        }
        let near_wall = self.wall.is_some_and(|wall| self.limit >= (wall.limit * BELOW_WALL).floor());
        let grown = |part: f64| (part * f64::from(1 << self.streak.min(8))).min(LARGEST_STEP);
        let step = |part: f64| (self.limit * part).max(1.0).floor();
        let other = match self.next_try {
            Direction::Up if near_wall => self.limit + step(grown(STEP_NEAR_WALL)),
            Direction::Up => self.limit + step(grown(STEP)),
            Direction::Down => self.limit - step(STEP),
        };
        let other = other.clamp(self.floor, self.ceiling);
        if other == self.limit {
            self.next_try = self.next_try.turned();
            self.countdown = self.gap;
            return;
        }
        self.phase = Phase::Try(measured);
        self.set(other, now);
    }

    fn judge(&mut self, before: Measured, measured: Measured, now: Duration) {
        let (direction, kept) = match measured.limit > before.limit {
            true => (Direction::Up, measured.is_worth_more_than(&before)),
            false => (Direction::Down, !before.is_worth_more_than(&measured)),
        };
        self.streak = if kept && direction == Direction::Up { self.streak + 1 } else { 0 };
        if !kept {
            self.gap = (self.gap * 2).min(LONGEST_GAP);
            self.next_try = direction.turned();
            return self.settle(before.limit, now);
        }
        self.gap = 1;
        self.next_try = direction;
        let limit = self.limit;
        self.settle(limit, now);
        if let Some(wall) = self.wall {
            match limit > wall.limit * ABOVE_WALL {
                // Far above what was once refused: that is over.
                true => self.wall = None,
                false if direction == Direction::Up && limit > wall.limit * BELOW_WALL => {
                    self.hold = now + wall.hold(limit);
                }
                false => {}
            }
        }
    }

    /// Stays at `limit` until the next try.
    fn settle(&mut self, limit: f64, now: Duration) {
        self.phase = Phase::Steady(None);
        self.countdown = self.gap;
        self.set(limit, now);
    }

    fn set(&mut self, limit: f64, now: Duration) {
        // Whole: half a request is not in flight.
        let limit = limit.floor().clamp(self.floor, self.ceiling);
        if limit != self.limit {
            self.limit = limit;
            self.changed = now;
        }
        self.window = Window::default();
    }
}

impl Wall {
    fn is_about(&self, limit: f64) -> bool {
        (limit - self.limit).abs() <= (self.limit * (ABOVE_WALL - 1.0)).max(1.0)
    }

    /// How long to stay at a limit just below.
    fn hold(&self, limit: f64) -> Duration {
        // One more request is the least that could be tried.
        let lost = (1.0 / (limit + 1.0)).max(1.0 - BELOW_WALL);
        HOLD_COSTS.div_f64(lost) / (8 >> self.confirmed.min(3))
    }
}

impl Measured {
    /// Whether enough of the concurrency that this has more than `less` arrived as throughput.
    fn is_worth_more_than(&self, less: &Measured) -> bool {
        let more = self.limit / less.limit - 1.0;
        self.throughput / less.throughput - 1.0 >= more * WORTHWHILE
    }
}

impl Direction {
    fn turned(self) -> Direction {
        match self {
            Direction::Up => Direction::Down,
            Direction::Down => Direction::Up,
        }
    }
}

impl Window {
    /// Adds a request; `true` when the window is full.
    fn add(&mut self, sample: Sample, limit: u32, size: u32) -> bool {
        self.requests += 1;
        self.at_limit += u32::from(sample.in_flight >= limit);
        self.in_flight += f64::from(sample.in_flight);
        self.latency += sample.ended.saturating_sub(sample.began);
        self.requests >= size
    }
}

#[cfg(test)]
#[path = "adaptive_limit/tests.rs"]
mod tests;
