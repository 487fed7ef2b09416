//! What is true, and who sees it.

use super::*;

impl World {
    /// Who is in a swarm.
    pub(crate) fn truth(&self, swarm: u32) -> (Counts, BTreeSet<SocketAddr>) {
        let (mut counts, mut peers) = (Counts::default(), BTreeSet::new());
        for (number, client) in self.clients.iter().enumerate() {
            if client.alive && client.swarm == swarm {
                counts.seeders += u32::from(client.left == 0);
                counts.leechers += u32::from(client.left != 0);
                peers.insert(address(number as u32));
            }
        }
        (counts, peers)
    }

    /// What one that is no peer is told by a node.
    pub(crate) fn view(&mut self, node: usize, swarm: u32) -> (Counts, BTreeSet<SocketAddr>) {
        let asker = client(swarm, 1);
        let nowhere = SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), 0);
        self.announce(node, nowhere, asker, ClientEvent::None);
        let Node { tracker, worker, .. } = &self.nodes[node];
        let mut bytes: Vec<Vec<u8>> = worker.peers.v4.iter().map(|peer| peer.to_vec()).collect();
        bytes.extend(worker.peers.v6.iter().map(|peer| peer.to_vec()));
        let read = |bytes: &Vec<u8>| peerage_tracker::share::message::read_peer(bytes);
        let counts = tracker.scrape(worker, &hash(swarm));
        (counts, bytes.iter().filter_map(read).collect())
    }

    pub(crate) fn check(&mut self, seed: u64) {
        self.check_peers(seed);
        for (swarm, completed) in self.completed().into_iter().enumerate() {
            assert!(completed.len() <= 1, "seed {seed}, swarm {swarm}: completed {completed:?}");
        }
    }

    /// Of each swarm, how often the nodes with clients in it say that it was finished.
    pub(crate) fn completed(&self) -> Vec<BTreeSet<u32>> {
        let mut completed = vec![BTreeSet::new(); SWARMS as usize];
        for (client, state) in self.clients.iter().enumerate().filter(|(_, state)| state.alive) {
            let Node { tracker, worker, is_off, .. } = &self.nodes[client % NODES];
            if !is_off {
                let counts = tracker.scrape(worker, &hash(state.swarm));
                completed[state.swarm as usize].insert(counts.completed);
            }
        }
        completed
    }

    /// Redis has everyone who is there. Not those whom a node may have told to have left that did
    /// not hear of them from the other.
    pub(crate) fn check_told(&self, seed: u64) {
        let refresh = self.nodes[0].share.timing().refresh.as_millis() as u64;
        assert!(TOLD_MILLIS < refresh / 2, "all would be told again anyway");
        for (client, state) in self.clients.iter().enumerate() {
            if !state.alive || state.strays {
                continue;
            }
            let has = self.redis.has(&hash(state.swarm), &address(client as u32));
            assert!(has, "seed {seed}: Redis has not client {client} in swarm {}", state.swarm);
        }
    }

    pub(crate) fn check_peers(&mut self, seed: u64) {
        for swarm in 0..SWARMS {
            let (counts, peers) = self.truth(swarm);
            for node in 0..NODES {
                // A node asks about the swarms of its own clients, and knows of no others.
                let mut own = 0..self.clients.len() as u32;
                if self.nodes[node].is_off {
                    continue;
                }
                if !own.any(|at| at as usize % NODES == node && peers.contains(&address(at))) {
                    continue;
                }
                let (seen_counts, seen_peers) = self.view(node, swarm);
                let seen = Counts { completed: 0, ..seen_counts };
                assert_eq!(seen, counts, "seed {seed}, node {node}, swarm {swarm}: counts");
                assert_eq!(seen_peers, peers, "seed {seed}, node {node}, swarm {swarm}: peers");
            }
        }
    }
}
