//! Connections that break, with and without a loss.

use peerage_tracker::share::Mark;

use super::*;

/// A node's connection to Redis.
#[derive(Default)]
pub(crate) struct Link {
    pub(crate) mark: Mark,
    /// Raised whenever it breaks.
    number: u64,
    is_broken: bool,
    /// Whether messages are missed until there is another.
    is_deaf: bool,
}

impl Link {
    pub(crate) fn is_whole(&self) -> bool {
        !self.is_broken
    }

    pub(crate) fn hears(&self) -> bool {
        !self.is_deaf
    }
}

/// What becomes of messages while a connection is broken; they have one of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    StillHeard,
    Missed,
}

impl World {
    /// A node's connection breaks: whether what is on its way arrives it cannot know.
    pub(crate) fn break_link(&mut self, number: usize, news: News) {
        let now = self.now_of(number);
        let node = &mut self.nodes[number];
        node.link.number += 1;
        node.link.is_broken = true;
        node.link.is_deaf |= news == News::Missed;
        let (run, link) = (node.run, node.link.number);
        if let Some((_, changes)) = node.trip.take() {
            node.share.apply(now, node.tracker.swarms(), changes, &[]);
        }
        let delay = self.delay();
        self.after(delay, Event::Connect { node: number, run, link });
    }

    /// All of them break.
    pub(crate) fn break_links(&mut self) {
        (0..NODES).for_each(|number| self.break_link(number, News::Missed));
    }

    pub(crate) fn connect(&mut self, number: usize, run: u64, link: u64) {
        if self.redis_is_away {
            return self.after(500, Event::Connect { node: number, run, link });
        }
        let node = &self.nodes[number];
        if node.run != run || node.link.number != link || node.is_off {
            return;
        }
        // First of all it beats, and so learns of the others.
        self.beat_now(number);
        let node = &mut self.nodes[number];
        let found = self.redis.marks.get(&node.share.options().node).copied();
        if !node.link.mark.is_kept(found) {
            node.share.start_over();
        }
        if std::mem::take(&mut node.link.is_deaf) {
            node.share.doubt();
        }
        node.link.is_broken = false;
    }

    /// The replica is as far behind as it happens to be.
    pub(crate) fn replicate(&mut self) {
        if self.chance(30) {
            self.replica = self.redis.clone();
        }
    }

    /// The master dies, and with it what the replica does not have.
    pub(crate) fn fail_over(&mut self) {
        self.redis = self.replica.clone();
        self.master += 1;
        self.break_links();
    }
}
