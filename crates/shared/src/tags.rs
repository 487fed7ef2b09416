//! What stands in braces in the keys of swarms, by which a Cluster finds their slot.
//!
//! A script touches keys of one slot only, and a call of it costs as much as two swarms in it. Were
//! each swarm in a slot of its own, nearly every call would carry one. So a part of all info_hashes
//! has a tag in common, and each tag is in another part of the slots: masters that have as many
//! slots have as many tags, and swarms, as far as 512 can be divided among them.

use std::sync::LazyLock;

use peerage_proto::InfoHash;

use crate::places::{SLOTS, crc16};

/// How many there are.
const TAGS: usize = 512;

/// Of each part of the slots, in order, the lowest number with a slot in it.
static ALL: LazyLock<Vec<u16>> = LazyLock::new(|| {
    let mut tags = vec![None; TAGS];
    let mut left = TAGS;
    for number in 0..u16::MAX {
        let slot = usize::from(crc16(number.to_string().as_bytes())) % SLOTS;
        let tag = &mut tags[slot * TAGS / SLOTS];
        left -= usize::from(tag.is_none());
        *tag = tag.or(Some(number));
        if left == 0 {
            break;
        }
    }
    tags.into_iter().map(|tag| tag.expect("a number below 65,535 is in each part")).collect()
});

/// The tag of a swarm's keys, a number: by the first nine bits of its info_hash.
pub(crate) fn tag(info_hash: &InfoHash) -> u16 {
    let [first, second, ..] = info_hash.0;
    ALL[usize::from(first) << 1 | usize::from(second >> 7)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(first: u8, second: u8) -> u16 {
        let mut info_hash = InfoHash([0; 20]);
        (info_hash.0[0], info_hash.0[1]) = (first, second);
        tag(&info_hash)
    }

    #[test]
    fn each_tag_is_in_a_part_of_the_slots_of_its_own() {
        let slot = |tag: &u16| usize::from(crc16(tag.to_string().as_bytes())) % SLOTS;
        let slots: Vec<usize> = ALL.iter().map(slot).collect();
        assert_eq!(slots.len(), 512);
        for (part, slot) in slots.into_iter().enumerate() {
            assert!((part * 32..(part + 1) * 32).contains(&slot), "{part}: {slot}");
        }
    }

    #[test]
    fn tags_stay_what_they_are() {
        // Nodes of two releases would not find each other's swarms.
        assert_eq!(
            [of(0, 0), of(0, 127), of(0, 128), of(1, 0), of(255, 255)],
            [460, 460, 1046, 108, 430]
        );
    }
}
