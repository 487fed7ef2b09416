//! What nodes of a private tracker tell each other at once: in which swarms something has changed.
//!
//! A message is a version (u8), the node it comes from (u64), and info_hashes one after the other.
//! Whoever hears of a swarm asks about it. Messages of another version are passed over.

use alloc::vec::Vec;

use peerage_proto::InfoHash;

/// Unlike any version of the messages about peers without members, which come the same way.
const VERSION: u8 = 0x50;
const HEAD_BYTES: usize = 9;
/// Info_hashes in one message: 20 kB.
const SWARMS_MAX: usize = 1000;

/// Messages of `node`; none where there is nothing to tell.
pub fn write(node: u64, swarms: &[InfoHash]) -> Vec<Vec<u8>> {
    let message = |swarms: &[InfoHash]| {
        let mut message = Vec::with_capacity(HEAD_BYTES + 20 * swarms.len());
        message.push(VERSION);
        message.extend_from_slice(&node.to_be_bytes());
        swarms.iter().for_each(|info_hash| message.extend_from_slice(&info_hash.0));
        message
    };
    swarms.chunks(SWARMS_MAX).map(message).collect()
}

/// The swarms that a message names; `None` where it is of another version, no message, or from
/// `node` itself.
pub fn read(message: &[u8], node: u64) -> Option<impl Iterator<Item = InfoHash>> {
    let (head, rest) = message.split_first_chunk::<HEAD_BYTES>()?;
    if head[0] != VERSION || head[1..] == node.to_be_bytes() {
        return None;
    }
    let (hashes, _) = rest.as_chunks::<20>();
    Some(hashes.iter().map(|hash| InfoHash(*hash)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swarms_are_read_by_other_nodes_and_other_versions_by_none() {
        let swarms: Vec<_> = (0..2500_u16)
            .map(|number| {
                let mut hash = [0; 20];
                hash[..2].copy_from_slice(&number.to_be_bytes());
                InfoHash(hash)
            })
            .collect();
        let mut messages = write(7, &swarms);
        assert_eq!(messages.len(), 3);
        let read_by = |node| messages.iter().filter_map(|one| read(one, node)).flatten().collect();
        assert_eq!(swarms, Vec::from_iter::<Vec<_>>(read_by(8)));
        assert_eq!(Vec::<InfoHash>::new(), Vec::from_iter::<Vec<_>>(read_by(7)), "its own");
        messages[0][0] += 1;
        assert!(read(&messages[0], 8).is_none());
        assert!(read(&messages[1][..8], 8).is_none());
        assert!(write(7, &[]).is_empty());
    }
}
