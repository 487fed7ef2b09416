//! A large swarm: four crowds, one for each family and role.

use peerage_proto::InfoHash;

use crate::crowd::{Crowd, CrowdCursor};
use crate::draw::{Draw, Random};
use crate::slot::{Freshness, HashKey, Slot, Slot4, Slot6, State};
use crate::table::Place;
use crate::{Counts, Role};

/// The peers of one family.
pub(crate) struct Roles<S: Slot> {
    seeders: Crowd<S>,
    leechers: Crowd<S>,
}

/// A swarm too large for a block.
pub(crate) struct Big {
    pub(crate) info_hash: InfoHash,
    pub(crate) v4: Roles<Slot4>,
    pub(crate) v6: Roles<Slot6>,
    pub(crate) paused: u32,
}

/// A slot that a large swarm can hold.
pub(crate) trait BigSlot: Slot {
    fn of(big: &Big) -> &Roles<Self>;
    fn of_mut(big: &mut Big) -> &mut Roles<Self>;
}

impl BigSlot for Slot4 {
    fn of(big: &Big) -> &Roles<Self> {
        &big.v4
    }

    fn of_mut(big: &mut Big) -> &mut Roles<Self> {
        &mut big.v4
    }
}

impl BigSlot for Slot6 {
    fn of(big: &Big) -> &Roles<Self> {
        &big.v6
    }

    fn of_mut(big: &mut Big) -> &mut Roles<Self> {
        &mut big.v6
    }
}

impl Big {
    pub(crate) fn new(info_hash: InfoHash) -> Self {
        Self { info_hash, v4: Roles::default(), v6: Roles::default(), paused: 0 }
    }

    pub(crate) fn counts(&self, completed: u32) -> Counts {
        Counts {
            seeders: (self.v4.seeders.len() + self.v6.seeders.len()) as u32,
            leechers: (self.v4.leechers.len() + self.v6.leechers.len()) as u32,
            paused: self.paused,
            completed,
        }
    }

    pub(crate) fn peers(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Of the tables.
    pub(crate) fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes()
    }

    /// How many calls of [`Big::expire`] go through the whole swarm.
    pub(crate) fn parts(&self) -> usize {
        [
            self.v4.seeders.tables(),
            self.v4.leechers.tables(),
            self.v6.seeders.tables(),
            self.v6.leechers.tables(),
        ]
        .into_iter()
        .max()
        .unwrap_or_default()
    }

    /// Takes out the peers of one part that are not fresh, telling each to `gone`.
    pub(crate) fn expire(
        &mut self,
        part: usize,
        fresh: Freshness,
        key: &HashKey,
        gone: &mut impl Gone,
    ) {
        let paused = &mut self.paused;
        self.v4.expire(part, fresh, key, |slot| {
            *paused -= u32::from(slot.state().is_paused());
            gone.v4(slot);
        });
        self.v6.expire(part, fresh, key, |slot| {
            *paused -= u32::from(slot.state().is_paused());
            gone.v6(slot);
        });
    }

    /// Looks for a peer, first among those of the role it most likely has.
    pub(crate) fn find<S: BigSlot>(&self, peer: S, hash: u64, likely: Role) -> Option<Found> {
        let roles = S::of(self);
        let in_role = |role| {
            let crowd = roles.of(role);
            crowd
                .find(peer, hash)
                .map(|place| Found { state: crowd.get(hash, place).state(), place })
        };
        in_role(likely).or_else(|| in_role(other(likely)))
    }

    /// Puts in a peer, in place of what it was before.
    pub(crate) fn put<S: BigSlot>(
        &mut self,
        slot: S,
        hash: u64,
        old: Option<Found>,
        key: &HashKey,
    ) {
        let role = slot.state().role();
        self.paused += u32::from(slot.state().is_paused());
        match old {
            Some(old) if old.state.role() == role => {
                self.paused -= u32::from(old.state.is_paused());
                S::of_mut(self).of_mut(role).set(hash, old.place, slot);
            }
            Some(old) => {
                self.remove::<S>(hash, old, key);
                S::of_mut(self).of_mut(role).insert(slot, hash, key);
            }
            None => S::of_mut(self).of_mut(role).insert(slot, hash, key),
        }
    }

    /// Takes out a peer that was found at `old`.
    pub(crate) fn remove<S: BigSlot>(&mut self, hash: u64, old: Found, key: &HashKey) {
        self.paused -= u32::from(old.state.is_paused());
        S::of_mut(self).of_mut(old.state.role()).remove(hash, old.place, key);
    }
}

/// Where a peer stands and what it was; true until the swarm is next changed.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) state: State,
    place: Place,
}

/// Who is told of the peers that were dropped.
pub(crate) trait Gone {
    fn v4(&mut self, slot: Slot4);
    fn v6(&mut self, slot: Slot6);
}

impl<S: Slot> Default for Roles<S> {
    fn default() -> Self {
        Self { seeders: Crowd::default(), leechers: Crowd::default() }
    }
}

impl<S: BigSlot> Roles<S> {
    pub(crate) fn len(&self) -> usize {
        self.seeders.len() + self.leechers.len()
    }

    pub(crate) fn for_each(&self, mut visit: impl FnMut(S)) {
        self.seeders.for_each(&mut visit);
        self.leechers.for_each(&mut visit);
    }

    /// Of one part, see [`Big::parts`].
    pub(crate) fn for_each_in(&self, part: usize, mut visit: impl FnMut(S)) {
        self.seeders.for_each_in(part, &mut visit);
        self.leechers.for_each_in(part, &mut visit);
    }

    /// Draws for a peer of `role`: leechers for a seeder, both for a leecher, each kind in the
    /// proportion it has in the swarm.
    pub(crate) fn draw(&self, role: Role, draw: &mut Draw<'_, S>) {
        let [leechers_start, seeders_start] = draw.starts;
        let mut leechers = self.leechers.cursor(leechers_start, draw);
        if role == Role::Seeder {
            self.leechers.draw(&mut leechers, draw);
            return;
        }
        let out_max = draw.out_max;
        let want = out_max.saturating_sub(draw.out.len());
        draw.out_max = draw.out.len() + self.share_of_leechers(want, draw.rng.next_u64() as u32);
        self.leechers.draw(&mut leechers, draw);
        draw.out_max = out_max;
        let mut seeders: CrowdCursor = self.seeders.cursor(seeders_start, draw);
        self.seeders.draw(&mut seeders, draw);
        // Seeders may have been too few: those left over go to the leechers.
        self.leechers.draw(&mut leechers, draw);
    }

    /// Starts to fetch what an announce of a peer will touch: the line where it most likely stands
    /// already, and those that a draw with the same `starts` will visit.
    pub(crate) fn prefetch(&self, role: Role, hash: u64, starts: [Random; 2], want: usize) {
        self.of(role).prefetch_home(hash);
        match role {
            Role::Seeder => self.leechers.prefetch_draw(starts[0], want),
            Role::Leecher => {
                let leechers = self.share_of_leechers(want, u32::MAX);
                self.leechers.prefetch_draw(starts[0], leechers);
                self.seeders.prefetch_draw(starts[1], want - leechers);
            }
        }
    }

    /// How many of `want` peers are leechers. Rounded at random, so that on average every peer is
    /// equally likely.
    fn share_of_leechers(&self, want: usize, random: u32) -> usize {
        let all = self.len() as u64;
        if all == 0 {
            return 0;
        }
        let exact = want as u64 * self.leechers.len() as u64;
        let up = (u64::from(random) * all) >> 32 < exact % all;
        (exact / all + u64::from(up)) as usize
    }

    fn of(&self, role: Role) -> &Crowd<S> {
        match role {
            Role::Seeder => &self.seeders,
            Role::Leecher => &self.leechers,
        }
    }

    fn of_mut(&mut self, role: Role) -> &mut Crowd<S> {
        match role {
            Role::Seeder => &mut self.seeders,
            Role::Leecher => &mut self.leechers,
        }
    }

    fn expire(&mut self, part: usize, fresh: Freshness, key: &HashKey, mut gone: impl FnMut(S)) {
        for crowd in [&mut self.seeders, &mut self.leechers] {
            if part < crowd.tables() {
                crowd.retain(part, key, |slot| {
                    let keep = fresh.holds(slot.state());
                    if !keep {
                        gone(slot);
                    }
                    keep
                });
            }
        }
    }

    fn bytes(&self) -> usize {
        self.seeders.bytes() + self.leechers.bytes()
    }
}

fn other(role: Role) -> Role {
    match role {
        Role::Seeder => Role::Leecher,
        Role::Leecher => Role::Seeder,
    }
}
