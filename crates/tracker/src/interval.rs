//! The interval breathes: longer under load, shorter when the machine is idle.

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

/// The interval in force and where it is going, by etracker's rule: when the interval has reached
/// its goal and the longer of the last two goals has passed, all three load averages below the limit
/// make the goal 60 s shorter, all three above it 60 s longer; the interval moves towards the goal
/// by one second at a time, each 1/60 of the previous goal.
#[derive(Clone, Debug)]
pub struct Breath {
    current_secs: u32,
}

impl Breath {
    /// Starts at `limits.start_secs`, brought within the limits.
    pub fn new(limits: &IntervalLimits) -> Self {
        Self { current_secs: limits.start_secs.clamp(limits.min_secs, limits.max_secs) }
    }

    /// The interval in force, in seconds.
    pub fn current_secs(&self) -> u32 {
        self.current_secs
    }
}
