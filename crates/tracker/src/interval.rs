//! The interval breathes: longer under load, shorter when the machine is idle.

use core::cmp::Ordering;
use core::time::Duration;

use peerage_swarm::Now;

/// The bounds of the announce interval, in seconds. etracker's are the defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntervalLimits {
    /// Where it starts.
    pub start_secs: u32,
    /// Never below; at least 1.
    pub min_secs: u32,
    /// Never above; at least `min_secs`.
    pub max_secs: u32,
    /// The load average below which the machine is idle and above which it is loaded.
    pub load_max: f64,
}

impl Default for IntervalLimits {
    fn default() -> Self {
        Self { start_secs: 1799, min_secs: 239, max_secs: 1799, load_max: 1.5 }
    }
}

/// The load averages over 1, 5 and 15 minutes.
pub type LoadAverages = [f64; 3];

/// Why the interval is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its bounds leave it no choice.
    Fixed,
    /// It is on its way to a shorter one.
    MovingDown,
    /// It is on its way to a longer one.
    MovingUp,
    /// The load is not known: it stays where it is.
    NoLoad,
    /// The machine is idle: the next decision makes it shorter, if it may be.
    Idle,
    /// The machine is loaded: the next decision makes it longer, if it may be.
    Loaded,
    /// The load averages are on both sides of the limit, or at it: it stays where it is.
    Steady,
}

impl Why {
    /// The word for it in statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::MovingDown => "moving_down",
            Self::MovingUp => "moving_up",
            Self::NoLoad => "no_load",
            Self::Idle => "idle",
            Self::Loaded => "loaded",
            Self::Steady => "steady",
        }
    }
}

/// By how much one decision moves the goal.
const STEP_SECS: u32 = 60;

/// The interval in force and where it is going, by etracker's rule.
///
/// A decision is due once the interval has reached its goal and the longer of the last two goals
/// has passed since the last decision. Then all three load averages below the limit make the goal
/// 60 s shorter, all three above it 60 s longer. The interval moves to its goal a second at a time,
/// each after 1/60 of the previous goal, so that a change is spread over about one interval.
///
/// etracker takes 60 from an unsigned number and so turns a goal below 60 s into the longest; here
/// it stops at the shortest.
#[derive(Clone, Debug)]
pub struct Breath {
    limits: IntervalLimits,
    current_secs: u32,
    goal_secs: u32,
    previous_goal_secs: u32,
    decide_at: Now,
    move_at: Now,
}

impl Breath {
    /// Starts at `limits.start_secs`, brought within the limits.
    pub fn new(limits: IntervalLimits) -> Self {
        let start = Self::within(&limits, limits.start_secs);
        Self {
            limits,
            current_secs: start,
            goal_secs: start,
            previous_goal_secs: start,
            decide_at: Now::default(),
            move_at: Now::default(),
        }
    }

    /// Takes new limits into force. A new start is gone to at once; new bounds only bring in what
    /// is outside of them.
    pub fn set_limits(&mut self, limits: IntervalLimits) {
        if limits.start_secs != self.limits.start_secs {
            *self = Self::new(limits);
            return;
        }
        self.limits = limits;
        for secs in [&mut self.current_secs, &mut self.goal_secs, &mut self.previous_goal_secs] {
            *secs = Self::within(&limits, *secs);
        }
    }

    /// Brings the interval up to `now`. To be called about once a second; a late call makes up for
    /// the steps it missed.
    pub fn advance(&mut self, now: Now, load: LoadAverages) {
        if self.current_secs == self.goal_secs && self.decide_at <= now {
            self.decide(now, load);
        }
        while self.current_secs != self.goal_secs && self.move_at <= now {
            if self.current_secs < self.goal_secs {
                self.current_secs += 1;
            } else {
                self.current_secs -= 1;
            }
            self.move_at = self.move_at + self.pace();
        }
    }

    /// The interval in force, in seconds.
    pub fn current_secs(&self) -> u32 {
        self.current_secs
    }

    /// Where the interval is going, in seconds.
    pub fn goal_secs(&self) -> u32 {
        self.goal_secs
    }

    /// Why the interval is what it is, at a load that is not always known.
    pub fn why(&self, load: Option<LoadAverages>) -> Why {
        match (self.current_secs.cmp(&self.goal_secs), load) {
            _ if self.limits.max_secs <= self.limits.min_secs => Why::Fixed,
            (Ordering::Greater, _) => Why::MovingDown,
            (Ordering::Less, _) => Why::MovingUp,
            (Ordering::Equal, None) => Why::NoLoad,
            (Ordering::Equal, Some(load)) => self.weigh(load),
        }
    }

    /// [`Why::Idle`], [`Why::Loaded`] or [`Why::Steady`].
    fn weigh(&self, load: LoadAverages) -> Why {
        if load.iter().all(|&load| load < self.limits.load_max) {
            Why::Idle
        } else if load.iter().all(|&load| load > self.limits.load_max) {
            Why::Loaded
        } else {
            Why::Steady
        }
    }

    fn decide(&mut self, now: Now, load: LoadAverages) {
        let goal = match self.weigh(load) {
            Why::Idle => self.goal_secs.saturating_sub(STEP_SECS),
            Why::Loaded => self.goal_secs.saturating_add(STEP_SECS),
            _ => self.goal_secs,
        };
        self.previous_goal_secs = self.goal_secs;
        self.goal_secs = Self::within(&self.limits, goal);
        let wait = self.previous_goal_secs.max(self.goal_secs);
        self.decide_at = now + Duration::from_secs(wait.into());
        self.move_at = now;
    }

    /// The time one second of change takes: 1/60 of the previous goal, rounded, at least a second.
    fn pace(&self) -> Duration {
        Duration::from_secs(u64::from(((self.previous_goal_secs + 30) / 60).max(1)))
    }

    fn within(limits: &IntervalLimits, secs: u32) -> u32 {
        secs.clamp(limits.min_secs, limits.max_secs.max(limits.min_secs))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const IDLE: LoadAverages = [0.1, 0.2, 0.3];
    const LOADED: LoadAverages = [5.0, 4.0, 3.0];
    const MIXED: LoadAverages = [5.0, 1.0, 0.3];

    fn run(breath: &mut Breath, from_secs: u64, to_secs: u64, load: LoadAverages) -> Vec<u32> {
        let at = |secs| Now::from_millis(1_700_000_000_000 + secs * 1000);
        (from_secs..to_secs)
            .map(|secs| {
                breath.advance(at(secs), load);
                breath.current_secs()
            })
            .collect()
    }

    #[test]
    fn idle_machine_goes_a_second_down_at_once_and_then_one_each_thirty_seconds() {
        let mut breath = Breath::new(IntervalLimits::default());
        let seen = run(&mut breath, 0, 1799, IDLE);
        assert_eq!(seen[0], 1798);
        assert_eq!(seen[29], 1798);
        assert_eq!(seen[30], 1797);
        assert_eq!(seen[59 * 30], 1739);
        assert_eq!(*seen.last().unwrap(), 1739);
        // The next decision comes after the longer of both goals.
        assert_eq!(run(&mut breath, 1799, 1800, IDLE), [1738]);
    }

    #[test]
    fn loaded_machine_goes_up_and_stops_at_the_longest() {
        let limits = IntervalLimits { start_secs: 1700, ..IntervalLimits::default() };
        let mut breath = Breath::new(limits);
        let seen = run(&mut breath, 0, 20_000, LOADED);
        assert_eq!(seen[0], 1701);
        assert_eq!(*seen.last().unwrap(), 1799);
    }

    #[test]
    fn averages_on_both_sides_of_the_limit_change_nothing() {
        let mut breath = Breath::new(IntervalLimits::default());
        assert!(run(&mut breath, 0, 5000, MIXED).iter().all(|&secs| secs == 1799));
    }

    #[test]
    fn goal_below_a_minute_does_not_turn_over() {
        let limits = IntervalLimits { start_secs: 5, min_secs: 5, ..IntervalLimits::default() };
        let mut breath = Breath::new(limits);
        assert!(run(&mut breath, 0, 100, IDLE).iter().all(|&secs| secs == 5));
    }

    #[test]
    fn start_is_brought_within_the_limits() {
        let limits = IntervalLimits { start_secs: 10, ..IntervalLimits::default() };
        assert_eq!(Breath::new(limits).current_secs(), 239);
        let crossed = IntervalLimits { min_secs: 600, max_secs: 300, ..limits };
        assert_eq!(Breath::new(crossed).current_secs(), 600);
    }

    #[test]
    fn interval_can_say_why_it_is_what_it_is() {
        let limits = |min_secs, max_secs| IntervalLimits {
            start_secs: max_secs,
            min_secs,
            max_secs,
            ..IntervalLimits::default()
        };
        let still = Breath::new(limits(600, 1200));
        for (load, why) in [
            (None, Why::NoLoad),
            (Some(IDLE), Why::Idle),
            (Some(LOADED), Why::Loaded),
            (Some(MIXED), Why::Steady),
        ] {
            assert_eq!(still.why(load), why);
            assert_eq!(Breath::new(limits(600, 600)).why(load), Why::Fixed);
        }
        let mut down = still.clone();
        run(&mut down, 0, 10, IDLE);
        assert_eq!(down.why(Some(LOADED)), Why::MovingDown);
        let mut up = Breath::new(IntervalLimits { start_secs: 700, ..limits(600, 1200) });
        run(&mut up, 0, 10, LOADED);
        assert_eq!(up.why(None), Why::MovingUp);
    }

    #[test]
    fn new_start_is_gone_to_at_once() {
        let mut breath = Breath::new(IntervalLimits::default());
        breath.set_limits(IntervalLimits { start_secs: 900, ..IntervalLimits::default() });
        assert_eq!(breath.current_secs(), 900);
        breath.set_limits(IntervalLimits {
            start_secs: 900,
            max_secs: 600,
            ..IntervalLimits::default()
        });
        assert_eq!(breath.current_secs(), 600);
    }
}
