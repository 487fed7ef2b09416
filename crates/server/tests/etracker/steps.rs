//! etracker's 75 functional steps, in its seven groups.
//!
//! What etracker itself answers is in the scenario's numbers; what is expected here is what a
//! correct tracker answers, and each step says by which [`Why`]s that differs. A client has one
//! port and takes it along to every transport. Its peers are named `family:client`.

use Event::{Started, Stopped as Stop};
use Form::{Compact, Dictionary, DictionaryWithoutIds, Unsaid};
use Swarm::{A, B, C};
use Via::{Http4, Http6, Udp4, Udp6};
use Why::{
    Address, BothFamilies, Finished, Left, OnePeersList, Requester, SeederToSeeder, Stopped,
};

/// How a step reaches the tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    Http4,
    Http6,
    Udp4,
    Udp6,
}

/// What a step announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Started,
    Stopped,
}

/// In which form the peers are asked for; UDP has only the compact one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Compact,
    Dictionary,
    DictionaryWithoutIds,
    Unsaid,
}

/// The three torrents of the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swarm {
    A,
    B,
    C,
}

/// Why a correct tracker answers something else than etracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// etracker hands a peer itself.
    Requester,
    /// etracker hands peers to one that leaves.
    Stopped,
    /// `left` decides who seeds: the scenario's UDP clients say 0 (etracker never reads it), its
    /// HTTP clients say nothing and so are leechers.
    Left,
    /// A leecher that comes back with nothing left has finished, whatever its event says.
    Finished,
    /// Peers are known by address. etracker knows them by peer_id, over both families, so that
    /// whoever knows a peer_id can move or stop that peer.
    Address,
    /// HTTP replies hold peers of both families (BEP 7).
    BothFamilies,
    /// A list of dictionaries is named `peers` and holds both families; etracker names that of IPv6
    /// `peers6`, where no client looks for it.
    OnePeersList,
    /// Seeders are of no use to a seeder.
    SeederToSeeder,
}

/// One announce and what is to come back.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) number: &'static str,
    pub(crate) via: Via,
    pub(crate) event: Event,
    pub(crate) client: u8,
    pub(crate) swarm: Swarm,
    pub(crate) form: Form,
    /// Seeders, leechers, completed.
    pub(crate) counts: (u32, u32, u32),
    /// Such as `4:1 6:2`.
    pub(crate) peers: &'static str,
    pub(crate) why: &'static [Why],
}

#[allow(clippy::too_many_arguments, reason = "a row of a table")]
const fn step(
    number: &'static str,
    via: Via,
    event: Event,
    client: u8,
    swarm: Swarm,
    form: Form,
    counts: (u32, u32, u32),
    peers: &'static str,
    why: &'static [Why],
) -> Step {
    Step { number, via, event, client, swarm, form, counts, peers, why }
}

/// The groups, each with swarms of its own.
pub(crate) const GROUPS: [(&str, &[Step]); 7] = [
    ("base", BASE),
    ("ipv4", IPV4),
    ("ipv6 tcp", IPV6_TCP),
    ("ipv6 udp", IPV6_UDP),
    ("mix", MIX),
    ("compact default", COMPACT_DEFAULT),
    ("mix 2", MIX_2),
];

const BASE: &[Step] = &[
    step("1", Http4, Started, 1, A, Dictionary, (0, 1, 0), "", &[Requester]),
    step("2", Http4, Started, 1, A, Compact, (0, 1, 0), "", &[Requester]),
    step("3", Http4, Started, 2, A, Dictionary, (0, 2, 0), "4:1", &[Requester]),
    step("4", Http4, Started, 2, A, Compact, (0, 2, 0), "4:1", &[Requester]),
    step("5", Http4, Started, 3, A, Dictionary, (0, 3, 0), "4:1 4:2", &[Requester]),
    step("6", Http4, Started, 3, A, Compact, (0, 3, 0), "4:1 4:2", &[Requester]),
    step("1-1", Http4, Started, 1, B, Dictionary, (0, 1, 0), "", &[Requester]),
    step("11", Http4, Started, 1, B, DictionaryWithoutIds, (0, 1, 0), "", &[Requester]),
    step("2-1", Http4, Started, 1, B, Compact, (0, 1, 0), "", &[Requester]),
    step("7", Http4, Stop, 2, A, Dictionary, (0, 2, 0), "", &[Stopped]),
    step("8", Http4, Stop, 2, A, Compact, (0, 2, 0), "", &[Stopped]),
    step("9", Http4, Stop, 3, A, Dictionary, (0, 1, 0), "", &[Stopped]),
    step("10", Http4, Stop, 1, A, Dictionary, (0, 0, 0), "", &[]),
    step("12", Http4, Stop, 1, B, Compact, (0, 0, 0), "", &[]),
    step("13", Udp4, Started, 1, C, Compact, (1, 0, 0), "", &[Requester, Left]),
    step("14", Udp4, Started, 2, C, Compact, (2, 0, 0), "", &[Requester, Left, SeederToSeeder]),
];

const IPV4: &[Step] = &[
    step("15", Http4, Started, 1, A, Dictionary, (0, 1, 0), "", &[Requester]),
    step("16", Http4, Started, 2, A, Dictionary, (0, 2, 0), "4:1", &[Requester]),
    step("17", Udp4, Started, 2, A, Compact, (1, 1, 1), "4:1", &[Requester, Finished, Left]),
    step(
        "18",
        Udp4,
        Started,
        3,
        A,
        Compact,
        (2, 1, 1),
        "4:1",
        &[Requester, Finished, Left, SeederToSeeder],
    ),
    step(
        "19",
        Http4,
        Started,
        3,
        A,
        Dictionary,
        (1, 2, 1),
        "4:1 4:2",
        &[Requester, Finished, Left],
    ),
    step("20", Udp4, Stop, 3, A, Compact, (1, 1, 1), "", &[Stopped, Finished, Left]),
    step(
        "21",
        Http4,
        Started,
        4,
        A,
        Dictionary,
        (1, 2, 1),
        "4:1 4:2",
        &[Requester, Finished, Left],
    ),
    step("22", Udp4, Stop, 4, A, Compact, (1, 1, 1), "", &[Stopped, Finished, Left]),
    step("23", Http4, Stop, 1, A, Dictionary, (1, 0, 1), "", &[Stopped, Finished, Left]),
    step("24", Http4, Stop, 2, A, Dictionary, (0, 0, 1), "", &[Finished]),
];

const IPV6_TCP: &[Step] = &[
    step("25", Http6, Started, 1, A, Dictionary, (0, 1, 0), "", &[Requester, OnePeersList]),
    step("26", Http6, Started, 2, A, Compact, (0, 2, 0), "6:1", &[Requester]),
    step(
        "27",
        Http6,
        Started,
        3,
        A,
        DictionaryWithoutIds,
        (0, 3, 0),
        "6:1 6:2",
        &[Requester, OnePeersList],
    ),
    step("28", Http6, Stop, 2, A, Compact, (0, 2, 0), "", &[Stopped]),
    step("29", Http6, Stop, 1, A, DictionaryWithoutIds, (0, 1, 0), "", &[Stopped]),
    step("30", Http6, Stop, 3, A, Dictionary, (0, 0, 0), "", &[]),
];

const IPV6_UDP: &[Step] = &[
    step("31", Udp6, Started, 1, A, Compact, (1, 0, 0), "", &[Requester, Left]),
    step("32", Udp6, Started, 2, A, Compact, (2, 0, 0), "", &[Requester, Left, SeederToSeeder]),
    step("33", Udp6, Started, 3, A, Compact, (3, 0, 0), "", &[Requester, Left, SeederToSeeder]),
    step("34", Udp6, Stop, 3, A, Compact, (2, 0, 0), "", &[Stopped, Left]),
    step("35", Udp6, Stop, 2, A, Compact, (1, 0, 0), "", &[Stopped, Left]),
    step("36", Udp6, Stop, 1, A, Compact, (0, 0, 0), "", &[]),
];

const MIX: &[Step] = &[
    step("37", Http4, Started, 1, A, Dictionary, (0, 1, 0), "", &[Requester]),
    step("38", Udp4, Started, 2, A, Compact, (1, 1, 0), "4:1", &[Requester, Left]),
    step(
        "39",
        Http6,
        Started,
        3,
        A,
        DictionaryWithoutIds,
        (1, 2, 0),
        "4:1 4:2",
        &[Requester, Left, BothFamilies, OnePeersList],
    ),
    step("40", Udp6, Started, 4, A, Compact, (2, 2, 0), "6:3", &[Requester, Left]),
    step(
        "41",
        Http4,
        Started,
        1,
        A,
        Dictionary,
        (2, 2, 0),
        "4:2 6:3 6:4",
        &[Requester, Left, BothFamilies],
    ),
    step("42", Udp4, Started, 2, A, Compact, (2, 2, 0), "4:1", &[Requester, Left]),
    step(
        "43",
        Http6,
        Started,
        3,
        A,
        DictionaryWithoutIds,
        (2, 2, 0),
        "4:1 4:2 6:4",
        &[Requester, Left, BothFamilies, OnePeersList],
    ),
    step("44", Udp6, Started, 4, A, Compact, (2, 2, 0), "6:3", &[Requester, Left]),
    step("45", Http4, Stop, 1, A, Dictionary, (2, 1, 0), "", &[Stopped, Left]),
    step("46", Udp4, Stop, 2, A, Compact, (1, 1, 0), "", &[Left]),
    step("47", Http6, Stop, 3, A, DictionaryWithoutIds, (1, 0, 0), "", &[Stopped, Left]),
    step("48", Udp6, Stop, 4, A, Compact, (0, 0, 0), "", &[]),
];

const COMPACT_DEFAULT: &[Step] = &[
    step("49", Http6, Started, 3, A, Unsaid, (0, 1, 0), "", &[Requester]),
    step("50", Http4, Started, 4, A, Unsaid, (0, 2, 0), "6:3", &[Requester, BothFamilies]),
    step("51", Udp6, Stop, 4, A, Compact, (0, 2, 0), "", &[Stopped, Address]),
    step("52", Udp6, Stop, 3, A, Compact, (0, 1, 0), "", &[Address]),
];

const MIX_2: &[Step] = &[
    step("53", Http4, Started, 1, A, Dictionary, (0, 1, 0), "", &[Requester]),
    step("54", Udp4, Started, 1, A, Compact, (1, 0, 1), "", &[Requester, Finished, Left]),
    step(
        "55",
        Http6,
        Started,
        2,
        A,
        Dictionary,
        (1, 1, 1),
        "4:1",
        &[Requester, Finished, Left, BothFamilies, OnePeersList],
    ),
    step("56", Udp6, Started, 2, A, Compact, (2, 0, 2), "", &[Requester, Finished, Left]),
    step(
        "57",
        Http4,
        Started,
        2,
        A,
        Dictionary,
        (2, 1, 2),
        "4:1 6:2",
        &[Requester, Finished, Left, Address, BothFamilies],
    ),
    step(
        "58",
        Udp4,
        Started,
        2,
        A,
        Compact,
        (3, 0, 3),
        "",
        &[Requester, Finished, Left, Address, SeederToSeeder],
    ),
    step(
        "59",
        Http6,
        Started,
        1,
        A,
        Dictionary,
        (3, 1, 3),
        "4:1 4:2 6:2",
        &[Requester, Finished, Left, Address, BothFamilies, OnePeersList],
    ),
    step(
        "60",
        Udp6,
        Started,
        1,
        A,
        Compact,
        (4, 0, 4),
        "",
        &[Requester, Finished, Left, Address, SeederToSeeder],
    ),
    step(
        "61",
        Http4,
        Started,
        3,
        A,
        Dictionary,
        (4, 1, 4),
        "4:1 4:2 6:1 6:2",
        &[Requester, Finished, Left, Address, BothFamilies],
    ),
    step(
        "62",
        Udp4,
        Started,
        4,
        A,
        Compact,
        (5, 1, 4),
        "4:3",
        &[Requester, Finished, Left, Address, SeederToSeeder],
    ),
    step(
        "63",
        Http6,
        Started,
        5,
        A,
        Dictionary,
        (5, 2, 4),
        "4:1 4:2 4:3 4:4 6:1 6:2",
        &[Requester, Finished, Left, Address, BothFamilies, OnePeersList],
    ),
    step(
        "64",
        Udp6,
        Started,
        6,
        A,
        Compact,
        (6, 2, 4),
        "6:5",
        &[Requester, Finished, Left, Address, SeederToSeeder],
    ),
    step("65", Http4, Stop, 1, A, Dictionary, (5, 2, 4), "", &[Stopped, Finished, Left, Address]),
    step("66", Http4, Stop, 2, A, Dictionary, (4, 2, 4), "", &[Stopped, Finished, Left, Address]),
    step("67", Http4, Stop, 3, A, Dictionary, (4, 1, 4), "", &[Stopped, Finished, Left, Address]),
    step("68", Http4, Stop, 4, A, Dictionary, (3, 1, 4), "", &[Finished, Left, Address]),
    step("68-1", Http6, Stop, 7, A, Dictionary, (3, 1, 4), "", &[Stopped, Finished, Left, Address]),
    step("69", Http4, Stop, 5, A, Dictionary, (3, 1, 4), "", &[Finished, Left, Address]),
    step("69-1", Http6, Stop, 7, A, Dictionary, (3, 1, 4), "", &[Stopped, Finished, Left, Address]),
    step("70", Http4, Stop, 6, A, Dictionary, (3, 1, 4), "", &[Finished, Left, Address]),
    step("71", Http6, Stop, 7, A, Dictionary, (3, 1, 4), "", &[Finished, Left, Address]),
];
