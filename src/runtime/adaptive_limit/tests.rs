//! The limit against simulated services: time is a number, nothing waits, every run is the same.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::*;

/// A service with a latency, and a number of requests that it works on at once: more of them wait for each other.
/// Above `refuses_above` in flight it refuses, and above `per_second` answers within the last second.
#[derive(Clone, Copy)]
struct Service {
    latency: Duration,
    at_once: u32,
    refuses_above: u32,
    per_second: usize,
}

impl Service {
    fn new(latency_ms: u64, at_once: u32) -> Service {
        let latency = Duration::from_millis(latency_ms);
        Service { latency, at_once, refuses_above: u32::MAX, per_second: usize::MAX }
    }
}

/// Callers that always want an answer, first come, first served. One that is refused pauses as the clients do.
struct Simulation {
    limit: AdaptiveLimit,
    service: Service,
    now: Duration,
    /// When each place at the service is free again.
    places: BinaryHeap<Reverse<Duration>>,
    /// When the answers of the last second began.
    recent: VecDeque<Duration>,
    /// Callers that wait for leave, as the refusals of their request so far.
    ready: VecDeque<u32>,
    /// Callers that pause until a time.
    pausing: BinaryHeap<Reverse<(Duration, u32)>>,
    flying: BinaryHeap<Reverse<Flight>>,
    answered: u64,
    noise: u64,
}

/// Ordered by its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    ended: Duration,
    began: Duration,
    in_flight: u32,
    is_refused: bool,
    refusals: u32,
}

impl Simulation {
    fn new(service: Service) -> Simulation {
        Simulation {
            limit: AdaptiveLimit::new(1, 256),
            service,
            now: Duration::ZERO,
            places: BinaryHeap::new(),
            recent: VecDeque::new(),
            ready: VecDeque::from([0; 300]),
            pausing: BinaryHeap::new(),
            flying: BinaryHeap::new(),
            answered: 0,
            noise: 1,
        }
    }

    /// Runs for `seconds`; the answers per second.
    fn run(&mut self, seconds: f64) -> f64 {
        let end = self.now + Duration::from_secs_f64(seconds);
        let before = self.answered;
        while self.now < end {
            while (self.flying.len() as u32) < self.limit.limit()
                && let Some(refusals) = self.ready.pop_front()
            {
                self.send(refusals);
            }
            let lands = self.flying.peek().map(|Reverse(flight)| flight.ended);
            if let Some(&Reverse((until, refusals))) = self.pausing.peek()
                && lands.is_none_or(|lands| until < lands)
            {
                self.pausing.pop();
                self.now = until;
                self.ready.push_back(refusals);
                continue;
            }
            let Some(Reverse(flight)) = self.flying.pop() else { break };
            self.land(flight);
        }
        (self.answered - before) as f64 / seconds
    }

    fn land(&mut self, flight: Flight) {
        let Flight { ended, began, in_flight, is_refused, refusals } = flight;
        self.now = ended;
        let outcome = if is_refused { Outcome::Throttled } else { Outcome::Answered };
        if is_refused {
            let longest = Duration::from_millis(100).saturating_mul(1 << refusals.min(16));
            let pause = longest.min(Duration::from_secs(5)).mul_f64(self.random());
            self.pausing.push(Reverse((self.now + pause, refusals + 1)));
        } else {
            self.answered += 1;
            self.ready.push_back(0);
        }
        self.limit.record(Sample { began, ended, in_flight, outcome });
    }

    fn send(&mut self, refusals: u32) {
        let (began, in_flight) = (self.now, self.flying.len() as u32 + 1);
        while self.recent.front().is_some_and(|earlier| began - *earlier > Duration::from_secs(1)) {
            self.recent.pop_front();
        }
        let is_refused =
            in_flight > self.service.refuses_above || self.recent.len() >= self.service.per_second;
        let ended = if is_refused { began + Duration::from_millis(2) } else { self.answer() };
        self.flying.push(Reverse(Flight { ended, began, in_flight, is_refused, refusals }));
    }

    /// When a request that is sent now is answered.
    fn answer(&mut self) -> Duration {
        if self.service.per_second < usize::MAX {
            self.recent.push_back(self.now);
        }
        let all_taken = self.places.len() >= self.service.at_once as usize;
        let starts = match self.places.peek() {
            Some(&Reverse(free)) if free <= self.now || all_taken => {
                self.places.pop();
                free.max(self.now)
            }
            _ => self.now,
        };
        // A tenth of jitter.
        let ended = starts + self.service.latency.mul_f64(0.95 + self.random() / 10.0);
        if self.places.len() < self.service.at_once as usize {
            self.places.push(Reverse(ended));
        }
        ended
    }

    /// From 0 to 1, the same in every run.
    fn random(&mut self) -> f64 {
        self.noise =
            self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.noise >> 40) as f64 / f64::from(1 << 24)
    }
}

#[test]
fn the_limit_climbs_to_what_the_service_can_do_at_once_and_not_far_beyond() {
    for latency_ms in [5, 20, 50, 100] {
        for at_once in [1, 3, 10, 40, 150] {
            let mut simulation = Simulation::new(Service::new(latency_ms, at_once));
            simulation.run(latency_ms as f64 * 0.4);
            let best = f64::from(at_once) / (latency_ms as f64 / 1000.0);
            let reached = simulation.run(latency_ms as f64 * 0.4);
            let limit = simulation.limit.limit();
            let case =
                format!("{latency_ms} ms, {at_once} at once: limit {limit}, {reached:.0} of {best:.0}/s");
            println!("{case}");
            assert!(reached > best * 0.9, "{case}");
            assert!(limit <= at_once * 2 + 3, "{case}");
        }
    }
}

#[test]
fn without_a_limit_of_the_service_it_climbs_to_the_ceiling() {
    let mut simulation = Simulation::new(Service::new(20, 100_000));
    simulation.run(10.0);
    let limit = simulation.limit.limit();
    assert!(limit == 256 || limit == 224, "{limit}: the ceiling, or an eighth less is being tried");
}

#[test]
fn a_refusal_halves_it_once_and_its_echoes_do_not() {
    let mut limit = AdaptiveLimit::new(1, 64);
    limit.limit = 40.0;
    let at = Duration::from_millis;
    let refused = |began, ended| Sample {
        began: at(began),
        ended: at(ended),
        in_flight: 40,
        outcome: Outcome::Throttled,
    };
    limit.record(refused(1_000, 1_010));
    assert_eq!(limit.limit(), 20);
    // Sent before the cut, and sent after it within the same second.
    limit.record(refused(1_005, 1_015));
    limit.record(refused(1_500, 1_510));
    assert_eq!(limit.limit(), 20);
    limit.record(refused(2_100, 2_110));
    assert_eq!(limit.limit(), 10);
    for second in 3..20 {
        limit.record(refused(second * 1_000 + 200, second * 1_000 + 210));
    }
    assert_eq!(limit.limit(), 1, "never below the floor");
}

#[test]
fn it_does_not_climb_back_while_some_are_still_refused() {
    let mut limit = AdaptiveLimit::new(1, 64);
    limit.limit = 8.0;
    let mut now = Duration::from_secs(1);
    let mut ends = |limit: &mut AdaptiveLimit, outcome| {
        now += Duration::from_millis(10);
        let in_flight = limit.limit();
        limit.record(Sample { began: now - Duration::from_millis(1), ended: now, in_flight, outcome });
        limit.limit()
    };
    assert_eq!(ends(&mut limit, Outcome::Throttled), 4);
    for _ in 0..20 {
        for _ in 0..3 {
            assert_eq!(ends(&mut limit, Outcome::Answered), 4);
        }
        assert_eq!(ends(&mut limit, Outcome::Throttled), 4);
    }
    for _ in 0..3 {
        ends(&mut limit, Outcome::Answered);
    }
    assert_eq!(ends(&mut limit, Outcome::Answered), 5);
}

#[test]
fn it_stays_below_what_was_refused_and_uses_nearly_all_of_it() {
    for refuses_above in [4, 20, 100] {
        let service = Service { refuses_above, ..Service::new(20, 100_000) };
        let mut simulation = Simulation::new(service);
        simulation.run(60.0);
        let best = f64::from(refuses_above) / 0.020;
        let reached = simulation.run(60.0);
        let case = format!("refuses above {refuses_above}: {reached:.0} of {best:.0}/s");
        println!("{case}");
        assert!(reached > best * 0.8, "{case}");
        assert!(simulation.limit.limit() <= refuses_above + refuses_above / 8 + 1, "{case}");
    }
}

#[test]
fn a_service_that_counts_by_the_second_is_used_nearly_whole_and_soon_again_after_others_used_it() {
    for latency_ms in [5, 20, 50, 100] {
        for per_second in [50, 150, 1_000] {
            let service = Service { per_second, ..Service::new(latency_ms, 100_000) };
            let mut simulation = Simulation::new(service);
            simulation.run(10.0);
            let reached = simulation.run(60.0);
            simulation.service.per_second = per_second / 10;
            simulation.run(4.0);
            simulation.service.per_second = per_second;
            let again = simulation.run(20.0);
            let best = per_second as f64;
            let case =
                format!("{latency_ms} ms, {best}/s: {reached:.0}/s, over 20 s after others {again:.0}/s");
            println!("{case}");
            assert!(reached > best * 0.8, "{case}");
            assert!(again > best * 0.7, "{case}");
        }
    }
}

#[test]
fn it_recovers_when_the_service_stops_refusing() {
    let mut simulation = Simulation::new(Service { refuses_above: 8, ..Service::new(20, 64) });
    simulation.run(20.0);
    assert!(simulation.limit.limit() <= 9, "{}", simulation.limit.limit());
    simulation.service.refuses_above = u32::MAX;
    simulation.run(60.0);
    let reached = simulation.run(20.0);
    assert!(reached > 64.0 / 0.020 * 0.9, "{reached:.0}/s at {}", simulation.limit.limit());
}

#[test]
fn it_follows_when_the_service_can_do_less_or_more() {
    let mut simulation = Simulation::new(Service::new(20, 64));
    simulation.run(10.0);
    simulation.service.at_once = 16;
    simulation.run(30.0);
    let lower = simulation.limit.limit();
    assert!((14..=35).contains(&lower), "{lower} for 16 at once");
    simulation.service.at_once = 64;
    simulation.run(30.0);
    let reached = simulation.run(10.0);
    assert!(reached > 64.0 / 0.020 * 0.9, "{reached:.0}/s at {}", simulation.limit.limit());
}

#[test]
fn latency_that_doubles_while_throughput_falls_takes_thirty_percent_off() {
    let mut limit = AdaptiveLimit::new(1, 64);
    limit.limit = 40.0;
    limit.phase = Phase::Steady(None);
    limit.countdown = 100;
    let mut now = Duration::from_secs(1);
    let mut window = |limit: &mut AdaptiveLimit, latency_ms: u64| {
        for _ in 0..2 * limit.limit() {
            let began = now;
            let ended = began + Duration::from_millis(latency_ms);
            limit.record(Sample { began, ended, in_flight: 40, outcome: Outcome::Answered });
        }
        now += Duration::from_secs(1);
    };
    window(&mut limit, 20);
    window(&mut limit, 21);
    assert_eq!(limit.limit(), 40);
    window(&mut limit, 50);
    assert_eq!(limit.limit(), 28);
}

#[test]
fn callers_that_do_not_use_the_limit_do_not_move_it() {
    let mut simulation = Simulation::new(Service::new(20, 1_000));
    simulation.ready.truncate(3);
    simulation.run(10.0);
    assert_eq!(simulation.limit.limit(), START);
}

#[test]
fn it_stays_within_its_bounds() {
    let mut limit = AdaptiveLimit::new(0, 0);
    assert_eq!(limit.limit(), 1);
    limit.record(Sample {
        began: Duration::ZERO,
        ended: Duration::ZERO,
        in_flight: 1,
        outcome: Outcome::Throttled,
    });
    assert_eq!(limit.limit(), 1);
    let mut simulation = Simulation::new(Service::new(5, 1_000));
    simulation.limit = AdaptiveLimit::new(6, 10);
    simulation.run(5.0);
    assert_eq!(simulation.limit.limit(), 10);
}
