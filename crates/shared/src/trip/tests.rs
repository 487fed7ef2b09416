//! The scripts against a real Redis: our own against what the simulation of the nodes believes it
//! does, and what both draw where a swarm has more than is asked for.

#[path = "../../../tracker/tests/share_simulation/redis.rs"]
#[expect(dead_code, reason = "beats are the simulation's alone")]
mod model;

use std::collections::BTreeSet;
use std::time::Duration;

use peerage_proto::InfoHash;
use peerage_swarm::{Now, Rng, Role};
use peerage_testkit::redis::Redis;
use peerage_tracker::Share;
use peerage_tracker::share::{Answer, Change, Kind, NodeBeat, Options, SwarmChanges, Timing};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, Script, Value};

use super::{Caller, Layout, Outcome};

const SEEDS: u64 = 40;
const STEPS: u64 = 150;
const SAMPLE: u32 = 50;
/// Of three nodes the last has died.
const NODES: u32 = 3;
const START_SECS: u64 = 1_800_000_000;

fn share() -> Share {
    let timing = Timing::seldom(Duration::from_secs(1860), Duration::from_secs(2850));
    let share = Share::new(Options { node: 7, timing, sample: SAMPLE });
    // The last beats once and never again.
    for secs in (0..30_i64).step_by(5) {
        let beat = |number, at| NodeBeat { number, beat: 1 + at, expiry: timing.expiry };
        let beats = [beat(1, secs), beat(2, secs), beat(NODES as u16, 0)];
        share.hear_beats(Now::from_millis((START_SECS.saturating_add_signed(secs)) * 1000), &beats);
    }
    assert_eq!(share.dead(), [NODES as u16]);
    share
}

fn peer(number: u32) -> std::net::SocketAddr {
    match number % 4 {
        0 => ([0x2001, 0xdb8, 0, 0, 0, 0, 0, number as u16], 7000).into(),
        _ => ([192, 0, 2, number as u8], 7000 + (number >> 8) as u16).into(),
    }
}

fn role(seeds: bool) -> Role {
    if seeds { Role::Seeder } else { Role::Leecher }
}

/// What a node might tell of a swarm whose peers are few: of any of them anything.
fn tell(rng: &mut Rng, now_secs: u64) -> SwarmChanges {
    let steady = rng.below(3) == 0;
    let mut peers = Vec::new();
    for number in 0..12 {
        if rng.below(4) != 0 {
            continue;
        }
        let kind = match rng.below(5) {
            0 | 1 if !steady => Kind::News,
            2 if !steady => Kind::Left,
            _ => Kind::Seen,
        };
        peers.push(Change {
            peer: peer(number),
            role: role(rng.below(2) == 0),
            // Told late or early, as walks are.
            seen: Now::from_millis((now_secs - u64::from(rng.below(2000))) * 1000),
            kind,
            before: None,
            elsewhere: false,
        });
    }
    let finished = !steady && rng.below(6) == 0;
    SwarmChanges {
        info_hash: InfoHash([rng.below(3) as u8; 20]),
        peers,
        completed: if finished { rng.below(3) } else { 0 },
        completed_floor: if finished { rng.below(20) } else { 0 },
        sample: !steady && rng.below(3) == 0,
        renews: rng.below(3) == 0,
    }
}

/// A script that Redis has, and who calls it.
struct Tells<'a> {
    layout: Layout,
    prefix: String,
    script_hash: &'a str,
    share: &'a Share,
}

impl Tells<'_> {
    async fn tell(
        &self,
        connection: &mut MultiplexedConnection,
        (number, now_secs): (u16, u64),
        told: &[SwarmChanges],
    ) -> Vec<Answer> {
        let caller = Caller {
            layout: self.layout,
            prefix: &self.prefix,
            script_hash: self.script_hash,
            share: self.share,
            number,
            dead: "3",
            now: Now::from_millis(now_secs * 1000),
        };
        let reply: Value =
            caller.command(told).query_async(connection).await.expect("the script is called");
        let outcomes = self.layout.outcomes(self.share, number, told, reply);
        assert_eq!(outcomes.len(), told.len(), "{told:?}");
        let answers = outcomes.into_iter().map(|outcome| match outcome {
            Outcome::Answered(answer) => answer,
            Outcome::Refused(why) => panic!("{why}: {told:?}"),
        });
        answers.collect()
    }
}

fn ordered(mut answer: Answer) -> Answer {
    if let Some(sample) = &mut answer.sample {
        sample.sort_unstable_by_key(|sampled| sampled.peer);
    }
    answer
}

async fn load(redis: &Redis, layout: Layout) -> (MultiplexedConnection, String) {
    let client = redis::Client::open(redis.url()).expect("it is a URL");
    let connection = client.get_multiplexed_async_connection().await;
    let mut connection = connection.expect("it is reached");
    let script = Script::new(layout.script());
    let hash = script.load_async(&mut connection).await.expect("it is a script");
    (connection, hash)
}

/// Lets the keys live for ever; says which there are.
async fn forget_expiry(
    tells: &Tells<'_>,
    connection: &mut MultiplexedConnection,
    told: &[SwarmChanges],
) -> Vec<bool> {
    let mut are_there = Vec::new();
    for told in told {
        let key = tells.layout.key(&tells.prefix, &told.info_hash);
        let _: bool = connection.persist(&key).await.expect("it answers");
        are_there.push(connection.exists(&key).await.expect("it answers"));
    }
    are_there
}

/// New keys, and those that are to live on, do so for two expiries.
async fn check_expiry(
    tells: &Tells<'_>,
    connection: &mut MultiplexedConnection,
    told: &[SwarmChanges],
    were_there: Vec<bool>,
) {
    for (told, was_there) in told.iter().zip(were_there) {
        let key = tells.layout.key(&tells.prefix, &told.info_hash);
        let secs: i64 = connection.ttl(&key).await.expect("it answers");
        let is_news = told.peers.iter().any(|change| change.kind == Kind::News);
        let two_expiries = 2 * tells.share.expiry().as_secs() as i64;
        match secs {
            -2 => {}
            -1 => assert!(was_there && !is_news && !told.renews, "{told:?} lives for ever"),
            _ => assert!(two_expiries - 5 <= secs, "{told:?} expires after {secs} s"),
        }
    }
}

#[tokio::test]
async fn script_does_what_the_simulation_believes() {
    let redis = Redis::start(&[]).expect("Redis starts");
    let (mut connection, script_hash) = load(&redis, Layout::Own).await;
    let share = share();
    let mut samples = 0;
    for seed in 0..SEEDS {
        let mut rng = Rng::from_seed(seed);
        let mut model = model::Redis::default();
        let prefix = format!("{seed}:");
        let tells = Tells { layout: Layout::Own, prefix, script_hash: &script_hash, share: &share };
        let mut now_secs = START_SECS;
        for step in 0..STEPS {
            now_secs += u64::from(rng.below(1200));
            let number = 1 + rng.below(NODES) as u16;
            // Some at once, each swarm once as in every trip.
            let mut told: Vec<_> = (0..rng.below(4)).map(|_| tell(&mut rng, now_secs)).collect();
            told.sort_unstable_by_key(|told| told.info_hash.0);
            told.dedup_by_key(|told| told.info_hash.0);
            let wanted = told.iter().map(|told| model.update(now_secs, told, &share, number));
            let wanted: Vec<_> = wanted.map(ordered).collect();
            let lasting = forget_expiry(&tells, &mut connection, &told).await;
            let found = tells.tell(&mut connection, (number, now_secs), &told).await;
            check_expiry(&tells, &mut connection, &told, lasting).await;
            let found: Vec<_> = found.into_iter().map(ordered).collect();
            assert_eq!(found, wanted, "seed {seed}, step {step}: node {number} tells {told:#?}");
            let listed = found.iter().filter_map(|answer| answer.sample.as_ref());
            samples += listed.filter(|sample| sample.len() > 1).count();
        }
    }
    assert!(samples > 100, "{samples} samples had somebody in them");
}

/// Tells of a swarm of so many seeders and leechers, a trip's worth at a time.
async fn fill(
    tells: &Tells<'_>,
    connection: &mut MultiplexedConnection,
    info_hash: InfoHash,
    (seeders, leechers): (u32, u32),
) {
    let all: Vec<u32> = (0..seeders + leechers).collect();
    for some in all.chunks(400) {
        let join = |&number: &u32| Change {
            peer: peer(number),
            role: role(number < seeders),
            seen: Now::from_millis(START_SECS * 1000),
            kind: Kind::News,
            before: None,
            elsewhere: false,
        };
        let peers = some.iter().map(join).collect();
        let told = SwarmChanges { peers, ..ask(info_hash, false) };
        tells.tell(connection, (1, START_SECS), &[told]).await;
    }
}

fn ask(info_hash: InfoHash, sample: bool) -> SwarmChanges {
    let (peers, completed, completed_floor, renews) = (Vec::new(), 0, 0, false);
    SwarmChanges { info_hash, peers, completed, completed_floor, sample, renews }
}

async fn check_draws(layout: Layout) {
    let redis = Redis::start(&[]).expect("Redis starts");
    let (mut connection, script_hash) = load(&redis, layout).await;
    let share = share();
    let tells = Tells { layout, prefix: String::new(), script_hash: &script_hash, share: &share };
    // Seeders and leechers there are, and how many of them a sample of fifty has.
    let cases = [
        ((30, 30), (25, 25)),
        ((3, 600), (3, 47)),
        ((600, 3), (47, 3)),
        ((300, 300), (25, 25)),
        ((0, 600), (0, 50)),
        ((600, 0), (50, 0)),
        ((26, 600), (25, 25)),
        ((40, 10), (40, 10)),
    ];
    for (at, (has, wanted)) in cases.into_iter().enumerate() {
        let info_hash = InfoHash([at as u8 + 1; 20]);
        fill(&tells, &mut connection, info_hash, has).await;
        let mut seen = BTreeSet::new();
        for asked in 0..40 {
            let (asked, told) = ((2, START_SECS + asked), [ask(info_hash, true)]);
            let [answer] = &tells.tell(&mut connection, asked, &told).await[..] else {
                panic!("one answer to one question");
            };
            assert_eq!((answer.seeders, answer.leechers), has);
            let sample = answer.sample.as_ref().expect("it was asked for");
            let peers: BTreeSet<_> = sample.iter().map(|sampled| sampled.peer).collect();
            assert_eq!(peers.len(), sample.len(), "each peer once: {sample:?}");
            let seeders = sample.iter().filter(|sampled| sampled.role == Role::Seeder).count();
            assert_eq!((seeders, sample.len() - seeders), wanted, "of {has:?}");
            seen.extend(peers);
        }
        // Each has its turn: of 600, in 40 samples of 25, four of five where all are drawn alike.
        let all = (has.0 + has.1) as usize;
        assert!(all * 2 / 3 <= seen.len(), "{} of {has:?} were ever drawn", seen.len());
    }
}

#[tokio::test]
async fn samples_are_half_seeders_where_there_are_enough_and_others_each_time() {
    check_draws(Layout::Own).await;
}

#[tokio::test]
async fn samples_in_llmpts_layout_are_the_same() {
    check_draws(Layout::Llmpt).await;
}
