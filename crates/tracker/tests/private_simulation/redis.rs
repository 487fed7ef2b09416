//! Redis as nodes of a private tracker see it: the script that keeps records, on the same bytes,
//! but for what bounds it.

use std::collections::BTreeMap;

use peerage_proto::InfoHash;
use peerage_tracker::private::nodes::{
    Answer, CLOCKS_DIFFER_MILLIS, Kind, PeerName, Reading, Record, Tell, Told, Verdict,
};

/// What the script does in Redis, on the same bytes.
#[derive(Clone, Default)]
pub(crate) struct Redis {
    swarms: BTreeMap<InfoHash, Swarm>,
}

impl Redis {
    /// Tells and asks of one swarm.
    pub(crate) fn execute(&mut self, now_millis: u64, tell: &Tell) -> Answer {
        let swarm = self.swarms.entry(tell.info_hash).or_default();
        swarm.expires_secs.retain(|_, expires| *expires > now_millis / 1000);
        swarm.completed = swarm.completed.max(tell.completed);
        let verdicts = tell.claims.iter().map(|told| swarm.tell(told)).collect();
        let here: Vec<(PeerName, Record)> = swarm
            .expires_secs
            .keys()
            .map(|name| (*name, Record::read(&swarm.records[name]).expect("it was told")))
            .collect();
        let seeders = here.iter().filter(|(_, record)| record.is_seeder()).count() as u32;
        let leechers = here.len() as u32 - seeders;
        let stopped = swarm.records.iter().filter(|(_, record)| record[80] & 32 != 0);
        let gone = if tell.sample { stopped.map(|(name, _)| *name).collect() } else { Vec::new() };
        let sample = tell.sample.then_some(here);
        Answer { seeders, leechers, completed: swarm.completed, verdicts, sample, gone }
    }
}

#[derive(Clone, Default)]
struct Swarm {
    records: BTreeMap<PeerName, Vec<u8>>,
    /// When peers that are here expire, in seconds.
    expires_secs: BTreeMap<PeerName, u64>,
    /// Who has completed, by which node's telling.
    done: BTreeMap<[u8; 4], (u64, u64)>,
    completed: u32,
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

fn reading(bytes: &[u8], at: usize) -> Reading {
    Reading::read(bytes[at..at + Reading::BYTES].try_into().expect("32 bytes"))
}

impl Swarm {
    /// Whether a record is older than what a reminder says was told.
    fn is_older(old: &[u8], new: &[u8], told: &Told) -> bool {
        let (before, now) = (reading(old, 48), reading(new, 48));
        let counts = |reading: &Reading| (reading.uploaded, reading.downloaded);
        match () {
            () if old[..8] == new[..8] => {
                number(old, 8) < told.tried && counts(&before) != counts(&now)
            }
            () if before.at_millis.abs_diff(now.at_millis) >= CLOCKS_DIFFER_MILLIS => {
                before.at_millis < now.at_millis
            }
            () => now.uploaded > before.uploaded || now.downloaded > before.downloaded,
        }
    }

    fn is_late(old: &[u8], new: &[u8], told: &Told) -> bool {
        let (before, now) = (reading(old, 48), reading(new, 48));
        if told.kind() == Kind::Reminds {
            return !Self::is_older(old, new, told);
        }
        if old[..8] == new[..8] {
            let told_as = number(old, 8);
            return told_as >= told.tried && told_as % 2 == 1 && told.tried.is_multiple_of(2);
        }
        if before.at_millis.abs_diff(now.at_millis) >= CLOCKS_DIFFER_MILLIS {
            return now.at_millis < before.at_millis;
        }
        let (has_stopped, stops) = (old[80] & 32 != 0, new[80] & 32 != 0);
        let began_secs = u32::from_be_bytes(old[113..117].try_into().expect("4 bytes"));
        let less = now.uploaded < before.uploaded || now.downloaded < before.downloaded;
        let more = now.uploaded > before.uploaded || now.downloaded > before.downloaded;
        match () {
            () if less => {
                !(told.kind() == Kind::Starts && has_stopped && now.at_millis > before.at_millis)
            }
            () if has_stopped && now.at_millis <= before.at_millis && !stops => true,
            () if more => u64::from(began_secs) * 1000 + CLOCKS_DIFFER_MILLIS >= now.at_millis,
            () => false,
        }
    }

    fn tell(&mut self, told: &Told) -> Verdict {
        let mut new = told.record.to_bytes().to_vec();
        let old = self.records.get(&told.name()).cloned();
        let mut base = Some(if told.is_doubted() { told.record.last } else { told.first });
        let reminds = told.kind() == Kind::Reminds;
        let is_unsure = match &old {
            None => reminds || told.is_doubted(),
            Some(old) => reminds && Self::is_older(old, &new, told),
        };
        new[80] |= if is_unsure { 64 } else { 0 };
        if let Some(old) = &old {
            let (before, now) = (reading(old, 48), reading(&new, 48));
            let is_same = old[..8] == new[..8];
            let has_stopped = old[80] & 32 != 0;
            let less = now.uploaded < before.uploaded || now.downloaded < before.downloaded;
            let (mut goes_on, mut begins) = (false, less);
            if Self::is_late(old, &new, told) {
                base = None;
            } else if is_unsure {
                base = Some(now);
            } else if old[80] & 64 != 0 {
                base = Some(now);
                begins = true;
            } else if is_same
                && number(old, 8) >= told.tried
                && number(old, 8) % 2 == told.tried % 2
            {
                base = Some(reading(old, 16));
                goes_on = true;
            } else if told.kind() == Kind::Starts
                && (is_same
                    || told.first.at_millis
                        >= before.at_millis + if has_stopped { 1 } else { CLOCKS_DIFFER_MILLIS })
            {
                base = Some(told.first);
                begins = false;
            } else {
                base = Some(before);
                goes_on = true;
            }
            if goes_on && !has_stopped && now.uploaded >= before.uploaded {
                for (address, at) in [(81..87, 105..109), (87..105, 109..113)] {
                    if new[at.clone()] == [0; 4] {
                        new[address.clone()].copy_from_slice(&old[address]);
                        new[at.clone()].copy_from_slice(&old[at]);
                    }
                }
                new[113..117].copy_from_slice(&old[113..117]);
            }
            if begins {
                let began_secs = (now.at_millis / 1000) as u32;
                new[113..117].copy_from_slice(&began_secs.to_be_bytes());
            }
        }
        if let Some(base) = base {
            new[16..48].copy_from_slice(&base.to_bytes());
            self.expires_secs.remove(&told.name());
            if new[80] & 32 == 0 {
                self.expires_secs.insert(told.name(), told.expires_secs);
            }
            self.records.insert(told.name(), new);
        }
        let before = old.as_deref().and_then(Record::read);
        Verdict { base, before, is_snatch: told.completes() && self.complete(told) }
    }

    fn complete(&mut self, told: &Told) -> bool {
        let member = told.name().0[..4].try_into().expect("4 bytes");
        let (node, number) = (told.record.node, told.record.number);
        match self.done.get(&member) {
            None => {
                self.done.insert(member, (node, number));
                self.completed += 1;
                true
            }
            Some((by, at)) => *by == node && (told.tried..=number).contains(at),
        }
    }
}
