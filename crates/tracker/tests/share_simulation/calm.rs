//! Nodes without faults, or with one at a time: how soon the truth is seen, and that it stays so.

use peerage_tracker::share::{DOUBT_EVERY, LEASE};

use super::*;

#[test]
fn without_faults_the_truth_is_seen_within_two_seconds() {
    for seed in 0..50 {
        let mut world = World::new(seed * 10);
        // Everyone has announced once.
        world.run_until(START_MILLIS + u64::from(INTERVAL_SECS) * 1000 + 2000);
        world.check(seed);
        for client in 0..CLIENTS {
            let mut state = world.clients[client as usize];
            let stops = world.rng.below(2) == 0;
            let event = if stops { ClientEvent::Stopped } else { ClientEvent::Completed };
            (state.alive, state.left) = (!stops, 0);
            world.clients[client as usize] = state;
            world.announce(client as usize % NODES, address(client), state, event);
            if client % 8 == 0 {
                world.run_until(world.now_millis + 2000);
                world.check(seed);
            }
        }
    }
}

#[test]
fn all_is_told_again_within_ten_seconds_after_redis_has_forgotten_everything() {
    for seed in 0..20 {
        let mut world = World::new(seed * 10);
        world.run_until(START_MILLIS + u64::from(INTERVAL_SECS) * 1000 + 2000);
        world.redis_is_away = true;
        // Some come to two nodes meanwhile: each thinks them its own.
        for client in (0..CLIENTS as usize).step_by(5) {
            let state = world.clients[client];
            for node in [(client + 1) % NODES, client % NODES] {
                world.announce(node, address(client as u32), state, ClientEvent::None);
            }
        }
        world.run_until(world.now_millis + 2000);
        world.redis = Redis::default();
        world.redis_is_away = false;
        world.run_until(world.now_millis + 10_000);
        world.check(seed);
    }
}

/// Switches a node off, and all clients that announce to it.
fn switch_off(world: &mut World, node: usize) {
    world.nodes[node].is_off = true;
    for client in (0..CLIENTS as usize).filter(|client| client % NODES == node) {
        world.clients[client].alive = false;
    }
}

#[test]
fn peers_of_a_node_that_dies_are_gone_long_before_they_expire() {
    for seed in 0..50 {
        let mut world = World::new(seed * 10);
        world.run_until(START_MILLIS + 60_000);
        switch_off(&mut world, 1);
        let noticed = (LEASE + BEAT_EVERY * 3).as_millis() as u64;
        let expiry = world.nodes[0].share.timing().expiry;
        assert!(u128::from(noticed) < expiry.as_millis() / 2, "that would show nothing");
        world.run_until(world.now_millis + noticed);
        world.check(seed);
    }
}

#[test]
fn node_that_was_thought_dead_tells_everything_again() {
    for seed in 0..20 {
        let mut world = World::new(seed * 10);
        world.run_until(START_MILLIS + 60_000);
        // It stands still for so long that its peers are taken out, but not its clients.
        world.nodes[1].is_off = true;
        world.run_until(world.now_millis + 40_000);
        assert!(!world.nodes[0].share.dead().is_empty(), "nobody was thought dead");
        world.nodes[1].is_off = false;
        world.run_until(world.now_millis + 10_000);
        world.check(seed);
    }
}

#[test]
fn peer_whose_time_is_up_at_its_node_is_gone_for_all_long_before_it_expires() {
    for seed in 0..20 {
        let mut world = World::new(seed * 10);
        world.run_until(START_MILLIS + 60_000);
        for client in (0..CLIENTS as usize).step_by(3) {
            world.clients[client].alive = false;
        }
        let gone = TIMEOUT.as_millis() as u64 + SWEEP_MILLIS + 3000;
        let expiry = world.nodes[0].share.timing().expiry.as_millis() as u64;
        assert!(gone + u64::from(INTERVAL_SECS) * 1000 < expiry, "that would show nothing");
        world.run_until(world.now_millis + gone);
        world.check(seed);
    }
}

#[test]
fn counts_say_who_else_has_peers_where_no_message_did() {
    for seed in 0..20 {
        let mut world = World::new(seed * 10);
        world.is_mute = true;
        let refresh = world.nodes[0].share.timing().refresh;
        let told = refresh + refresh / 60 + INTERVAL + Duration::from_secs(4);
        world.run_until(START_MILLIS + told.as_millis() as u64);
        world.check(seed);
    }
}

#[test]
fn messages_that_were_lost_are_made_up_for_in_a_minute() {
    for seed in 0..20 {
        let mut world = World::new(seed * 10);
        world.run_until(START_MILLIS + 60_000);
        world.is_mute = true;
        // Some leave, and as many others come, so that of no swarm the counts say that it changed.
        for client in (0..CLIENTS as usize).step_by(3) {
            let mut state = world.clients[client];
            let event = ClientEvent::Stopped;
            world.announce(client % NODES, address(client as u32), state, event);
            state.alive = false;
            world.clients[client] = state;
            let late = world.clients.len() as u32;
            world.clients.push(Client { alive: true, ..state });
            world.announce(late as usize % NODES, address(late), state, ClientEvent::Started);
            world.after(u64::from(late) * 100, Event::Client(late));
        }
        world.run_until(world.now_millis + 2000);
        world.is_mute = false;
        let noticed = BEAT_EVERY + DOUBT_EVERY;
        let refresh = world.nodes[0].share.timing().refresh;
        assert!(noticed + Duration::from_secs(20) < refresh, "that would show nothing");
        world.run_until(world.now_millis + noticed.as_millis() as u64 + 2000);
        world.check(seed);
    }
}

#[test]
fn those_who_left_leave_again_where_redis_comes_back_as_it_was() {
    for seed in 0..20 {
        let mut world = World::new(seed * 10);
        world.run_until(START_MILLIS + 60_000);
        let old = world.redis.clone();
        let mut stayed = BTreeSet::new();
        for client in 0..CLIENTS as usize {
            let (node, mut state) = (client % NODES, world.clients[client]);
            // Of a swarm in which it has nobody a node asks nothing.
            if !stayed.insert((node, state.swarm)) {
                world.announce(node, address(client as u32), state, ClientEvent::Stopped);
                state.alive = false;
                world.clients[client] = state;
            }
        }
        world.run_until(world.now_millis + 15_000);
        world.check(seed);
        world.redis = old;
        world.break_links();
        world.run_until(world.now_millis + 10_000);
        world.check(seed);
    }
}

#[test]
fn connection_that_breaks_without_a_loss_has_little_told_again() {
    for seed in 0..20 {
        let mut world = World::new(seed * 10);
        world.run_until(START_MILLIS + 60_000);
        let before = world.peers_told;
        for breaks in 0..10 {
            // Between two flushes, and on the way.
            world.run_until(START_MILLIS + 61_000 + breaks * 1999);
            world.break_links();
        }
        world.run_until(world.now_millis + 2000);
        let told = world.peers_told - before;
        assert!(told < u64::from(CLIENTS), "seed {seed}: {told} of {CLIENTS} peers told");
        world.check(seed);
    }
}

#[test]
fn everything_is_told_again_where_a_replica_has_not_all_that_its_master_had() {
    for seed in 0..20 {
        let mut world = World::new(seed * 10);
        world.run_until(START_MILLIS + 60_000);
        world.replica = world.redis.clone();
        let mut stayed = BTreeSet::new();
        for client in 0..CLIENTS as usize {
            let (node, mut state) = (client % NODES, world.clients[client]);
            // Of a swarm in which it has nobody a node asks nothing.
            if stayed.insert((node, state.swarm)) {
                continue;
            }
            world.announce(node, address(client as u32), state, ClientEvent::Stopped);
            state.alive = false;
            world.clients[client] = state;
            let late = world.clients.len() as u32;
            world.clients.push(Client { alive: true, ..state });
            world.announce(late as usize % NODES, address(late), state, ClientEvent::Started);
            world.after(u64::from(late) * 100, Event::Client(late));
        }
        // Who was seen so lately that it may have come back is not told to have left.
        world.run_until(world.now_millis + 15_000);
        world.fail_over();
        world.run_until(world.now_millis + 10_000);
        world.check(seed);
    }
}

#[test]
fn what_a_lone_client_becomes_at_another_node_is_known_where_it_was() {
    let mut world = World::new(0);
    world.run_until(START_MILLIS + 5000);
    // Nobody else is in its swarm: by the counts alone, the second node would tell nobody.
    let leeching = client(SWARMS + 1, 1);
    let seeding = Client { left: 0, ..leeching };
    world.announce(0, address(900), leeching, ClientEvent::Started);
    world.run_until(world.now_millis + 2000);
    world.announce(1, address(900), seeding, ClientEvent::Completed);
    world.run_until(world.now_millis + 2000);
    for node in [0, 1] {
        let (counts, peers) = world.view(node, SWARMS + 1);
        assert_eq!((counts.seeders, counts.leechers), (1, 0), "node {node}");
        assert_eq!(peers.len(), 1, "node {node}");
    }
}

#[test]
fn what_a_lone_client_becomes_is_known_where_it_was_though_the_answer_was_lost() {
    let mut world = World::new(0);
    world.run_until(START_MILLIS + 5000);
    let leeching = client(SWARMS + 1, 1);
    world.announce(0, address(900), leeching, ClientEvent::Started);
    world.run_until(world.now_millis + 2000);
    let told = world.peers_told;
    world.announce(1, address(900), Client { left: 0, ..leeching }, ClientEvent::Completed);
    while world.peers_told == told {
        world.run_until(world.now_millis + 1);
    }
    // It has arrived, and is now this node's own in Redis; but that another had it is not heard.
    world.break_link(1, News::StillHeard);
    world.run_until(world.now_millis + 2000);
    assert!(told + 1 < world.peers_told, "it was not told again");
    let (counts, _) = world.view(0, SWARMS + 1);
    assert_eq!((counts.seeders, counts.leechers), (1, 0));
}

/// Checks every few seconds for some intervals.
fn check_all_along(world: &mut World, seed: u64, intervals: u32) {
    let end = world.now_millis + (world.interval * intervals).as_millis() as u64;
    while world.now_millis < end {
        world.run_until(world.now_millis + 7000);
        world.check(seed);
    }
}

#[test]
fn nobody_who_announces_in_time_ever_vanishes() {
    for seed in 0..10 {
        let mut world = World::new(seed * 10);
        world.run_until(START_MILLIS + 60_000);
        check_all_along(&mut world, seed, 20);
    }
}

#[test]
fn intervals_that_become_longer_while_nodes_run_lose_nobody() {
    let (longer, timeout) = (INTERVAL * 4, TIMEOUT * 4);
    for seed in 0..10 {
        let mut world = World::new(seed * 10);
        world.run_until(START_MILLIS + 60_000);
        for node in &world.nodes {
            node.tracker.set_peer_timeout(timeout);
            node.tracker.set_share_timing(Timing::seldom(longer, timeout));
        }
        world.interval = longer;
        check_all_along(&mut world, seed, 10);
    }
}

#[test]
fn steady_peers_are_told_about_once_in_six_announces() {
    for seed in 0..10 {
        let mut world = World::new(seed * 10);
        world.run_until(START_MILLIS + 60_000);
        let before = world.peers_told;
        let rounds = 30;
        world.run_until(world.now_millis + rounds * u64::from(INTERVAL_SECS) * 1000);
        let told = (world.peers_told - before) as f64;
        let each = told / (rounds * u64::from(CLIENTS)) as f64;
        assert!((0.13..0.22).contains(&each), "seed {seed}: {each} an announce");
        world.check(seed);
    }
}

#[test]
fn simulated_faults_happen() {
    let mut world = World::new(1);
    world.run_until(START_MILLIS + CHAOS_MILLIS);
    assert!(world.nodes.iter().any(|node| node.run > 0), "no node has started anew");
    assert!(world.clients.iter().any(|client| !client.alive), "nobody has left");
    assert!(world.trips > 100);
}
