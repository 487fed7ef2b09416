//! The script against what the simulation of the nodes believes it does, on the same tells.

#[path = "../../../tracker/tests/private_simulation/redis.rs"]
mod model;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use peerage_proto::{Event, InfoHash, PeerId};
use peerage_testkit::redis::Redis;
use peerage_tracker::private::nodes::{Answer, Options, Tell};
use peerage_tracker::private::{
    Announce, Member, MemberId, Passkey, Private, Terms, Torrent, TorrentId,
};
use peerage_tracker::{Families, Limits, Now, PeerIds, Rng, Rules, Tracker, Worker};
use redis::aio::MultiplexedConnection;
use redis::{Script, Value};

use super::{Common, answer, script};
use crate::trip::hex;

const SEEDS: u64 = 30;
const STEPS: u64 = 120;
const NODES: u64 = 3;
const CLIENTS: u32 = 3;
const TIMEOUT: Duration = Duration::from_secs(600);
const SAMPLE: u32 = 50;
const HASH: InfoHash = InfoHash([7; 20]);

fn passkey() -> Passkey {
    Passkey::parse(&[b'0'; 32]).expect("32 digits")
}

fn node(name: u64) -> (Tracker, Worker) {
    let terms = Terms { early_secs: 0, peer_timeout: TIMEOUT, ..Terms::default() };
    let options = Options { node: name, sample: SAMPLE, refresh: Duration::from_secs(10) };
    let private = Private::new([9; 16], terms).shared_by(options);
    private.put_member(Member::new(MemberId(1), passkey()));
    private.put_torrent(Torrent::new(TorrentId(1), HASH));
    let tracker = Tracker::new([1; 16], Limits::default(), PeerIds::Dropped, Rules::default())
        .with_members(private);
    let worker = tracker.worker(name);
    (tracker, worker)
}

/// Any client says anything at a node: counts that go on, or begin anew, or are taken back.
fn announce(rng: &mut Rng, (tracker, worker): &mut (Tracker, Worker), now: Now, step: u64) {
    let client = rng.below(CLIENTS) as u8;
    let event = match rng.below(8) {
        0 => Event::Started,
        1 => Event::Stopped,
        2 => Event::Completed,
        _ => Event::None,
    };
    let counts = if rng.below(4) == 0 { 20 } else { step as u32 * 10 };
    let address = match rng.below(3) {
        0 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        _ => IpAddr::V4(Ipv4Addr::new(10, 0, 0, client)),
    };
    let announce = Announce {
        announce: peerage_tracker::Announce {
            info_hash: HASH,
            peer_id: PeerId([client; 20]),
            address,
            port: 7000,
            left: Some(if event == Event::Completed { 0 } else { rng.below(2).into() }),
            event,
            numwant: None,
            families: Families::Both,
        },
        uploaded: rng.below(counts.max(1)).into(),
        downloaded: rng.below(counts.max(1)).into(),
        corrupt: None,
        user_agent: b"",
    };
    let told = tracker.announce_member(now, worker, &passkey().0, &announce);
    told.expect("a member is answered");
}

/// The same of both, in one order.
fn ordered(mut answer: Answer) -> Answer {
    if let Some(sample) = &mut answer.sample {
        sample.sort_unstable_by_key(|(name, _)| *name);
    }
    answer.gone.sort_unstable();
    answer
}

async fn tell(connection: &mut MultiplexedConnection, common: &Common<'_>, tell: &Tell) -> Answer {
    let reply: Value = common.command(tell).query_async(connection).await.expect("it is taken");
    answer(&reply).expect("an answer")
}

/// Puts the keys that begin with `from` in place of those that begin with `to`.
async fn copy(connection: &mut MultiplexedConnection, from: &str, to: &str) {
    for end in ["s", "l", "g", "a", "d", "c"] {
        let key = |prefix: &str| format!("{prefix}m1:{{{}}}:{end}", hex(&HASH));
        let mut pipe = redis::pipe();
        pipe.del(key(to)).ignore();
        pipe.cmd("COPY").arg(key(from)).arg(key(to)).ignore();
        pipe.exec_async(connection).await.expect("it is copied");
    }
}

async fn check(seed: u64, connection: &mut MultiplexedConnection, script_hash: &str) {
    let mut rng = Rng::from_seed(seed);
    let mut model = model::Redis::default();
    let mut nodes: Vec<_> = (1..=NODES).map(node).collect();
    let (prefix, old_prefix) = (format!("{seed}:"), format!("{seed}-old:"));
    let mut old_model = model.clone();
    let mut now_millis = 1_800_000_000_000;
    for step in 0..STEPS {
        now_millis += u64::from(rng.below(2500));
        match rng.below(20) {
            0 => {
                copy(connection, &prefix, &old_prefix).await;
                old_model = model.clone();
            }
            // It comes back as it was a while ago.
            1 => {
                copy(connection, &old_prefix, &prefix).await;
                model = old_model.clone();
                for (number, (tracker, _)) in nodes.iter().enumerate() {
                    let now = Now::from_millis(now_millis - number as u64 * 700);
                    tracker.private().expect("it has members").remind(now);
                }
            }
            _ => {}
        }
        // Clocks differ by less than is allowed for.
        let number = rng.below(NODES as u32) as usize;
        let ahead_millis = number as i64 * 700;
        let now = Now::from_millis(now_millis.saturating_add_signed(-ahead_millis));
        (0..rng.below(3)).for_each(|_| announce(&mut rng, &mut nodes[number], now, step));
        let private = nodes[number].0.private().expect("it has members");
        let told = private.outgoing(now, ahead_millis, 10);
        let common = Common {
            prefix: &prefix,
            script_hash,
            node: private.node().expect("it shares"),
            sample: SAMPLE,
            peer_timeout: TIMEOUT,
            gone_for: Duration::from_secs(3600),
            now_secs: now_millis / 1000,
        };
        let mut answers = Vec::new();
        for one in &told {
            let found = ordered(tell(connection, &common, one).await);
            let wanted = ordered(model.execute(now_millis, one));
            assert_eq!(found, wanted, "seed {seed}, step {step}: {one:?}");
            answers.push(Some(found));
        }
        if rng.below(4) == 0 {
            // The answer is lost.
            private.apply(now, ahead_millis, told, Vec::new());
            if rng.below(3) == 0 {
                private.remind(now);
            }
        } else {
            private.apply(now, ahead_millis, told, answers);
        }
    }
}

#[tokio::test]
async fn script_does_what_the_simulation_believes() {
    let redis = Redis::start(&[]).expect("Redis starts");
    let client = redis::Client::open(redis.url()).expect("it is a URL");
    let connection = client.get_multiplexed_async_connection().await;
    let mut connection = connection.expect("it is reached");
    let script = Script::new(&script());
    let loaded = script.load_async(&mut connection).await.expect("it is a script");
    for seed in 0..SEEDS {
        check(seed, &mut connection, &loaded).await;
    }
}
