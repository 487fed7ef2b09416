//! Whether the place where nodes meet still has what it said it had.
//!
//! A connection breaks for many reasons, and seldom because Redis has forgotten. So a node leaves a
//! number with each trip, behind all that the trip tells. What is told there is kept in the order
//! in which it was done: a replica that becomes a master has all that was done up to some moment,
//! and so has what is read from a disk. Where the number of the last trip that was answered is
//! there, or a later one, all is there that was answered before.

/// The number that a node leaves with what it tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Left with the trip that left last; 0 for none yet.
    left: u64,
    /// Of the last trip of which anything was answered, whether or not the number itself could be
    /// left.
    answered: u64,
}

impl Mark {
    /// The number to be left with the next trip, from 1: higher than all before.
    pub fn leave(&mut self) -> u64 {
        self.left += 1;
        self.left
    }

    /// Something of the trip with that number was answered.
    pub fn answered(&mut self, number: u64) {
        self.answered = self.answered.max(number);
    }

    /// Whether all that was answered is there, by the number found. Where nothing was answered yet
    /// nothing is known.
    pub fn is_kept(&self, found: Option<u64>) -> bool {
        self.answered != 0 && found.is_some_and(|found| self.answered <= found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_where_the_last_answered_number_or_a_later_one_is_found() {
        let mut mark = Mark::default();
        assert!(!mark.is_kept(None) && !mark.is_kept(Some(7)), "nothing was answered yet");
        assert_eq!([mark.leave(), mark.leave(), mark.leave()], [1, 2, 3]);
        mark.answered(2);
        mark.answered(1);
        assert!(mark.is_kept(Some(2)));
        assert!(mark.is_kept(Some(3)), "its answer was lost");
        assert!(!mark.is_kept(Some(1)), "an older state has come back");
        assert!(!mark.is_kept(None), "it is empty");
    }
}
