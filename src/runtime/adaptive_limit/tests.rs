//! The limit against simulated services: time is a number, nothing waits, every run is the same.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

/// A service with a latency, and a number of requests that it works on at once: more of them wait for each other.
/// Above `refuses_above` in flight it refuses.
#[derive(Clone, Copy)]
struct Service {
    latency: Duration,
    at_once: u32,
    refuses_above: u32,
}

impl Service {
    fn new(latency_ms: u64, at_once: u32) -> Service {
        Service { latency: Duration::from_millis(latency_ms), at_once, refuses_above: u32::MAX }
    }
}

/// Callers that always have a request waiting, up to `callers` of them.
struct Simulation {
    limit: AdaptiveLimit,
    service: Service,
    callers: u32,
    now: Duration,
    /// When each place at the service is free again.
    places: BinaryHeap<Reverse<Duration>>,
    flying: BinaryHeap<Reverse<(Duration, Duration, u32, bool)>>,
    answered: u64,
    noise: u64,
}

impl Simulation {
    fn new(service: Service) -> Simulation {
        Simulation {
            limit: AdaptiveLimit::new(1, 256),
            service,
            callers: u32::MAX,
            now: Duration::ZERO,
            places: BinaryHeap::new(),
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
            while (self.flying.len() as u32) < self.limit.limit().min(self.callers) {
                self.send();
            }
            let Some(Reverse((ended, began, in_flight, refused))) = self.flying.pop() else { break };
            self.now = ended;
            let outcome = if refused { Outcome::Throttled } else { Outcome::Answered };
            self.answered += u64::from(!refused);
            self.limit.record(Sample { began, ended, in_flight, outcome });
        }
        (self.answered - before) as f64 / seconds
    }

    fn send(&mut self) {
        let in_flight = self.flying.len() as u32 + 1;
        if in_flight > self.service.refuses_above {
            let ended = self.now + Duration::from_millis(2);
            return self.flying.push(Reverse((ended, self.now, in_flight, true)));
        }
        let all_taken = self.places.len() >= self.service.at_once as usize;
        let starts = match self.places.peek() {
            Some(Reverse(free)) if *free <= self.now || all_taken => {
                let Some(Reverse(free)) = self.places.pop() else { return };
                free.max(self.now)
            }
            _ => self.now,
        };
        // A tenth of jitter, from a generator that is the same in every run.
        self.noise =
            self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let jitter = 0.95 + (self.noise >> 40) as f64 / f64::from(1 << 24) / 10.0;
        let ended = starts + self.service.latency.mul_f64(jitter);
        if self.places.len() < self.service.at_once as usize {
            self.places.push(Reverse(ended));
        }
        self.flying.push(Reverse((ended, self.now, in_flight, false)));
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
    simulation.callers = 3;
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
