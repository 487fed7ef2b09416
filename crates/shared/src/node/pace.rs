//! How much goes into one pipeline, by how long the last ones took.
//!
//! Redis does one thing after the other: a pipeline is what others wait for, and where several
//! nodes tell much at once each waits for all. One that is not answered in time is told again,
//! which is more to do just where there is too much. So pipelines become smaller where they take
//! long, by halves, and larger again where they are full and quick.

use std::time::Duration;

use peerage_tracker::share::Room;

/// Most swarms in one pipeline, and fewest that is gone down to. Others follow at once.
const SWARMS_MAX: usize = 2048;
const SWARMS_MIN: usize = 64;

/// Most peers for each of these swarms. Where all of them are new, 16,384 take Redis some 80 ms,
/// and 2048 swarms with a peer each 25 to 65 ms.
const PEERS_PER_SWARM: usize = 8;

/// For more masters than these no more is taken at once.
const MASTERS_MAX: usize = 16;

/// A pipeline that took longer was too large; of one that took less twice as much may follow.
const LONG: Duration = Duration::from_millis(200);
const SHORT: Duration = Duration::from_millis(80);

/// How much goes into the next pipeline.
pub(super) struct Pace {
    swarms: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { swarms: SWARMS_MAX }
    }
}

impl Pace {
    /// For all of so many masters, of which each does its part beside the others.
    pub(super) fn room(&self, masters: usize) -> Room {
        let swarms = self.swarms * masters.clamp(1, MASTERS_MAX);
        Room { swarms, peers: swarms * PEERS_PER_SWARM }
    }

    /// A pipeline came back, or was given up, after so long; `was_full` where more waited.
    pub(super) fn took(&mut self, took: Duration, was_full: bool) {
        if LONG < took {
            self.swarms = (self.swarms / 2).max(SWARMS_MIN);
        } else if took < SHORT && was_full {
            self.swarms = (self.swarms * 2).min(SWARMS_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipelines_shrink_where_they_take_long_and_grow_where_they_are_full_and_quick() {
        let mut pace = Pace::default();
        let most = pace.room(1);
        assert_eq!(most, Room { swarms: 2048, peers: 16_384 });
        pace.took(Duration::from_millis(1000), true);
        assert_eq!(pace.room(1), Room { swarms: 1024, peers: 8192 });
        pace.took(Duration::from_millis(20), false);
        assert_eq!(pace.room(1).swarms, 1024, "it was not full");
        (0..20).for_each(|_| pace.took(Duration::from_millis(1000), true));
        assert_eq!(pace.room(1).swarms, SWARMS_MIN);
        (0..20).for_each(|_| pace.took(Duration::from_millis(20), true));
        assert_eq!(pace.room(1), most);
    }
}
