//! What a Gazelle site's updates change, and what it is told in reports.
//!
//! The site's word is followed at once and without the database: what it says here it also writes
//! there. Where Ocelot's reading of an update is a fault it is read as it is meant; where a site
//! could rely on the fault there is a choice, see [`Absent`].

use core::fmt;

use alloc::string::String;
use alloc::vec::Vec;

use peerage_proto::InfoHash;
use peerage_proto::gazelle::{Freetorrent, MemberReport, TorrentReport, Update};
use peerage_swarm::Now;

use crate::private::{
    Client, DeleteReason, Member, MemberId, Passkey, Pricing, Private, Terms, Token, Torrent,
    TorrentId,
};
use crate::{IntervalLimits, Tracker};

/// What it means that an update leaves out a parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Absent {
    /// Nothing changes.
    #[default]
    Keep,
    /// What it means to Ocelot: a member may download and is visible, a torrent is neutral.
    Ocelot,
}

/// What came of an update that was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Something has changed, or was so already.
    Done,
    /// Whom or what it names is unknown here: nothing has changed.
    Unknown,
    /// A torrent was looked up: its number and its [`Freetorrent`], if it is known.
    Info(InfoHash, Option<(u32, u8)>),
}

/// Why an update was not followed. For the operator's log: the site cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFollowed {
    /// A passkey holds something else than letters and digits.
    Passkey,
    /// With an interval and a jitter so long, in seconds, peers would expire before they come back.
    /// 0 where the interval itself is: every client would announce without a pause.
    Interval(u64),
}

/// The longest announce interval and the longest jitter that a site can set, in seconds.
const SECS_MAX: u32 = 7000;

impl fmt::Display for NotFollowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passkey => f.write_str("a passkey is made of other than letters and digits"),
            Self::Interval(0) => f.write_str("an interval of 0 is none"),
            Self::Interval(secs) => write!(
                f,
                "interval and jitter would be {secs}s, and peers expire before they come back"
            ),
        }
    }
}

/// Follows an update.
pub fn follow(
    tracker: &Tracker,
    private: &Private,
    now: Now,
    update: &Update<'_>,
    absent: Absent,
) -> Result<Followed, NotFollowed> {
    let done = match update {
        Update::AddTorrent { info_hash, id, free } => {
            let pricing = pricing(*free, absent);
            add_torrent(private, *info_hash, TorrentId(*id), pricing);
            true
        }
        Update::UpdateTorrents { info_hashes, free } => {
            let pricing = pricing(*free, absent);
            let change = |torrent: &mut Torrent| {
                torrent.pricing = pricing.unwrap_or(torrent.pricing);
            };
            let changed = info_hashes.iter().filter(|hash| private.change_torrent(hash, change));
            changed.count() > 0
        }
        Update::DeleteTorrent { info_hash, reason } => {
            private.remove_torrent(now, info_hash, DeleteReason(*reason))
        }
        Update::AddToken { info_hash, user } => {
            let torrent = private.torrent_id(info_hash);
            let add = |torrent| private.add_token(Token { member: MemberId(*user), torrent });
            torrent.map(add).is_some()
        }
        Update::RemoveToken { info_hash, user } => {
            private.torrent_id(info_hash).is_some_and(|torrent| {
                private.remove_token(Token { member: MemberId(*user), torrent })
            })
        }
        Update::AddUser { passkey, id, visible } => {
            add_member(private, read(passkey)?, MemberId(*id), *visible);
            true
        }
        Update::UpdateUser { passkey, can_leech, visible } => {
            let (can_leech, visible) = (flag(*can_leech, absent), flag(*visible, absent));
            private.change_member(&read(passkey)?, |member| {
                member.can_leech = can_leech.unwrap_or(member.can_leech);
                member.protected = visible.map_or(member.protected, |visible| !visible);
            })
        }
        Update::RemoveUsers { passkeys } => {
            // One that cannot be read is nobody's, and keeps no other in.
            let passkeys: Vec<_> = passkeys.iter().filter_map(|one| read(one).ok()).collect();
            private.remove_members(&passkeys) > 0
        }
        Update::ChangePasskey { old, new } => private.change_passkey(&read(old)?, read(new)?),
        Update::AddClient(_) | Update::RemoveClient(_) | Update::EditClient { .. } => {
            private.change_terms(|terms| change_clients(terms, update));
            true
        }
        Update::AnnounceInterval(secs) => return set_interval(tracker, private, *secs),
        Update::AnnounceJitter(secs) => return set_jitter(tracker, private, *secs),
        Update::InfoTorrent(info_hash) => {
            let state = private.torrent(info_hash);
            let known = state.map(|state| (state.torrent.id.0, free_number(state.torrent.pricing)));
            return Ok(Followed::Info(*info_hash, known));
        }
        Update::TraceUser { passkey, trace } => private.trace_member(&read(passkey)?, *trace),
    };
    Ok(if done { Followed::Done } else { Followed::Unknown })
}

fn read(passkey: &[u8; 32]) -> Result<Passkey, NotFollowed> {
    Passkey::parse(passkey).ok_or(NotFollowed::Passkey)
}

/// What a torrent costs; `None` for what it did before.
fn pricing(free: Freetorrent, absent: Absent) -> Option<Pricing> {
    match (free, absent) {
        (Freetorrent::Normal, _) => Some(Pricing::Normal),
        (Freetorrent::Free, _) => Some(Pricing::Free),
        (Freetorrent::Neutral, _) | (Freetorrent::Absent, Absent::Ocelot) => Some(Pricing::Neutral),
        (Freetorrent::Absent, Absent::Keep) => None,
    }
}

fn flag(said: Option<bool>, absent: Absent) -> Option<bool> {
    match absent {
        Absent::Keep => said,
        Absent::Ocelot => said.or(Some(true)),
    }
}

const fn free_number(pricing: Pricing) -> u8 {
    match pricing {
        Pricing::Normal => 0,
        Pricing::Free => 1,
        Pricing::Neutral => 2,
    }
}

/// Of a torrent that is known only what it costs is changed, as in Ocelot; but its number follows
/// the site's, should that have given it another.
fn add_torrent(private: &Private, info_hash: InfoHash, id: TorrentId, pricing: Option<Pricing>) {
    let known = private.torrent(&info_hash).map(|state| state.torrent);
    let new = Torrent {
        id,
        info_hash,
        pricing: Pricing::Normal,
        double_upload: false,
        completed: 0,
        balance: 0,
    };
    let mut torrent = known.unwrap_or(new);
    torrent.id = id;
    torrent.pricing = pricing.unwrap_or(torrent.pricing);
    private.put_torrent(torrent);
}

/// A member that is known keeps its rights, but for what is said.
fn add_member(private: &Private, passkey: Passkey, id: MemberId, visible: Option<bool>) {
    let known = private.member_by_id(id).map(|state| state.member);
    let new = Member {
        id,
        passkey,
        can_leech: true,
        protected: false,
        free_leech: false,
        double_upload: false,
        download_slots: None,
    };
    let mut member = known.unwrap_or(new);
    member.passkey = passkey;
    member.protected = visible.map_or(member.protected, |visible| !visible);
    private.put_member(member);
}

fn change_clients(terms: &mut Terms, update: &Update<'_>) {
    let client = |prefix: &[u8]| Client { prefix: prefix.into(), name: String::new() };
    match update {
        Update::AddClient(prefix) => {
            terms.clients.allow(client(prefix));
        }
        Update::RemoveClient(prefix) => {
            terms.clients.disallow(prefix);
        }
        Update::EditClient { old, new } => {
            // The new one first: at no moment is nobody let in.
            terms.clients.allow(client(new));
            if old != new {
                terms.clients.disallow(old);
            }
        }
        _ => {}
    }
}

/// Sets one interval for all, whatever the load. It holds until the configuration is read again.
fn set_interval(tracker: &Tracker, private: &Private, secs: u32) -> Result<Followed, NotFollowed> {
    let mut rules = (*tracker.rules()).clone();
    if secs == 0 {
        return Err(NotFollowed::Interval(0));
    }
    check_interval(private, secs, rules.jitter_secs)?;
    if rules.min_interval_secs == rules.interval.min_secs || secs < rules.min_interval_secs {
        rules.min_interval_secs = secs;
    }
    let load_max = rules.interval.load_max;
    rules.interval = IntervalLimits { start_secs: secs, min_secs: secs, max_secs: secs, load_max };
    tracker.set_rules(rules);
    Ok(Followed::Done)
}

fn set_jitter(tracker: &Tracker, private: &Private, secs: u32) -> Result<Followed, NotFollowed> {
    let mut rules = (*tracker.rules()).clone();
    check_interval(private, rules.interval.max_secs, secs)?;
    rules.jitter_secs = secs;
    tracker.set_rules(rules);
    Ok(Followed::Done)
}

fn check_interval(
    private: &Private,
    interval_secs: u32,
    jitter_secs: u32,
) -> Result<(), NotFollowed> {
    let secs = u64::from(interval_secs) + u64::from(jitter_secs);
    let fits = interval_secs <= SECS_MAX
        && jitter_secs <= SECS_MAX
        && secs < private.terms().peer_timeout.as_secs();
    fits.then_some(()).ok_or(NotFollowed::Interval(secs))
}

/// The figures of the member with this passkey.
pub fn member_report(private: &Private, passkey: &[u8]) -> Option<MemberReport> {
    let state = private.member(&Passkey::parse(passkey)?)?;
    Some(MemberReport {
        id: state.member.id.0,
        leeching: state.leeching,
        seeding: state.seeding,
        protected: state.member.protected,
        can_leech: state.member.can_leech,
        traced: state.traced,
    })
}

/// The figures of a torrent.
pub fn torrent_report(private: &Private, info_hash: &InfoHash) -> Option<TorrentReport> {
    let state = private.torrent(info_hash)?;
    let numbers = |members: &[MemberId]| members.iter().map(|id| id.0).collect();
    Some(TorrentReport {
        id: state.torrent.id.0,
        completed: state.torrent.completed,
        balance: state.torrent.balance,
        free: free_number(state.torrent.pricing),
        last_flushed_secs: state.due_secs,
        leechers: numbers(&state.leeching),
        seeders: numbers(&state.seeding),
        tokens: numbers(&state.tokens),
    })
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use peerage_swarm::{Limits, PeerIds};

    use super::*;
    use crate::Rules;

    const NOW: Now = Now::from_millis(1_800_000_000_000);
    const HASH: InfoHash = InfoHash(*b"aaaaaaaaaaaaaaaaaaaa");
    const HASH_TEXT: &str = "aaaaaaaaaaaaaaaaaaaa";
    const ANN: &str = "annannannannannannannannannann01";
    const NEW: &str = "newnewnewnewnewnewnewnewnewnew03";

    fn tracker() -> Tracker {
        let rules = Rules { jitter_secs: 0, ..Rules::default() };
        let tracker = Tracker::new([7; 16], Limits::default(), PeerIds::Dropped, rules);
        tracker.with_members(Private::new([8; 16], Terms::default()))
    }

    fn private(tracker: &Tracker) -> &Private {
        tracker.private().expect("it was made with members")
    }

    fn tell_as(tracker: &Tracker, query: &str, absent: Absent) -> Result<Followed, NotFollowed> {
        let query = format!("action={query}");
        let update = Update::parse(query.as_bytes()).expect("it can be read");
        follow(tracker, private(tracker), NOW, &update, absent)
    }

    #[track_caller]
    fn tell(tracker: &Tracker, query: &str) {
        assert_eq!(tell_as(tracker, query, Absent::Keep), Ok(Followed::Done), "{query}");
    }

    fn member(tracker: &Tracker, passkey: &str) -> Option<MemberReport> {
        member_report(private(tracker), passkey.as_bytes())
    }

    fn torrent(tracker: &Tracker) -> Option<TorrentReport> {
        torrent_report(private(tracker), &HASH)
    }

    #[test]
    fn members_come_change_and_go() {
        let tracker = tracker();
        tell(&tracker, &format!("add_user&passkey={ANN}&id=1&visible=0"));
        let ann = MemberReport { id: 1, can_leech: true, protected: true, ..Default::default() };
        assert_eq!(member(&tracker, ANN), Some(ann));
        tell(&tracker, &format!("update_user&passkey={ANN}&can_leech=0"));
        assert_eq!(member(&tracker, ANN), Some(MemberReport { can_leech: false, ..ann }));
        // To add who is there gives no right back.
        tell(&tracker, &format!("add_user&passkey={ANN}&id=1"));
        assert_eq!(member(&tracker, ANN), Some(MemberReport { can_leech: false, ..ann }));
        tell(&tracker, &format!("change_passkey&oldpasskey={ANN}&newpasskey={ANN}"));
        tell(&tracker, &format!("change_passkey&oldpasskey={ANN}&newpasskey={NEW}"));
        assert_eq!(member(&tracker, ANN), None);
        assert!(member(&tracker, NEW).is_some());
        tell(&tracker, &format!("trace_user&passkey={NEW}&trace=1"));
        assert!(member(&tracker, NEW).is_some_and(|report| report.traced));
        tell(&tracker, &format!("remove_users&passkeys={}{NEW}", "%".repeat(32)));
        assert_eq!(member(&tracker, NEW), None);
    }

    #[test]
    fn what_is_left_out_keeps_or_is_as_in_ocelot() {
        let tracker = tracker();
        tell(&tracker, &format!("add_user&passkey={ANN}&id=1&visible=0"));
        let update = format!("update_user&passkey={ANN}&can_leech=0");
        for (absent, protected) in [(Absent::Keep, true), (Absent::Ocelot, false)] {
            assert_eq!(tell_as(&tracker, &update, absent), Ok(Followed::Done));
            assert_eq!(member(&tracker, ANN).map(|report| report.protected), Some(protected));
        }
        tell(&tracker, &format!("add_torrent&info_hash={HASH_TEXT}&id=5&freetorrent=1"));
        let update = format!("update_torrent&info_hash={HASH_TEXT}");
        for (absent, free) in [(Absent::Keep, 1), (Absent::Ocelot, 2)] {
            assert_eq!(tell_as(&tracker, &update, absent), Ok(Followed::Done));
            assert_eq!(torrent(&tracker).map(|report| report.free), Some(free));
        }
    }

    #[test]
    fn torrents_come_change_and_go_with_their_tokens() {
        let tracker = tracker();
        let token = format!("add_token&info_hash={HASH_TEXT}&userid=7");
        assert_eq!(tell_as(&tracker, &token, Absent::Keep), Ok(Followed::Unknown));
        tell(&tracker, &format!("add_torrent&info_hash={HASH_TEXT}&id=5&freetorrent=0"));
        tell(&tracker, &token);
        tell(&tracker, &format!("update_torrents&info_hashes={HASH_TEXT}&freetorrent=2"));
        let report = torrent(&tracker).expect("it is there");
        assert_eq!((report.id, report.free, report.tokens), (5, 2, [7].into()));
        let info = format!("info_torrent&info_hash={HASH_TEXT}");
        let known = Followed::Info(HASH, Some((5, 2)));
        assert_eq!(tell_as(&tracker, &info, Absent::Keep), Ok(known));
        tell(&tracker, &format!("remove_token&info_hash={HASH_TEXT}&userid=7"));
        assert_eq!(torrent(&tracker).map(|report| report.tokens.len()), Some(0));
        tell(&tracker, &format!("delete_torrent&info_hash={HASH_TEXT}&reason=0"));
        assert_eq!(torrent(&tracker), None);
        assert_eq!(tell_as(&tracker, &info, Absent::Keep), Ok(Followed::Info(HASH, None)));
    }

    #[test]
    fn client_that_is_edited_is_never_missed() {
        let tracker = tracker();
        tell(&tracker, "add_whitelist&peer_id=-A");
        tell(&tracker, "edit_whitelist&old_peer_id=-A&new_peer_id=-A");
        tell(&tracker, "edit_whitelist&old_peer_id=-A&new_peer_id=-B");
        tell(&tracker, "edit_whitelist&old_peer_id=-unknown&new_peer_id=-C");
        let terms = private(&tracker).terms();
        let prefixes: Vec<_> =
            terms.clients.allowed().into_iter().flatten().map(|one| &one.prefix[..]).collect();
        assert_eq!(prefixes, [b"-B", b"-C"]);
        tell(&tracker, "remove_whitelist&peer_id=-B");
        tell(&tracker, "remove_whitelist&peer_id=-C");
        let terms = private(&tracker).terms();
        assert_eq!(terms.clients.allowed().map(<[Client]>::len), Some(0));
    }

    #[test]
    fn interval_is_followed_within_reason() {
        let tracker = tracker();
        tell(&tracker, "update_announce_interval&new_announce_interval=1500");
        tell(&tracker, "update_announce_jitter&new_announce_jitter=30");
        assert_eq!(tracker.interval_secs(), (1500, 1500));
        assert_eq!(tracker.rules().jitter_secs, 30);
        for (update, secs) in [
            ("update_announce_interval&new_announce_interval=0", 0),
            ("update_announce_interval&new_announce_interval=7001", 7031),
            ("update_announce_interval&new_announce_interval=4294967295", 4_294_967_325),
            ("update_announce_jitter&new_announce_jitter=7000", 8500),
        ] {
            let told = tell_as(&tracker, update, Absent::Keep);
            assert_eq!(told, Err(NotFollowed::Interval(secs)), "{update}");
        }
        assert_eq!(tracker.interval_secs(), (1500, 1500));
    }

    #[test]
    fn passkey_that_cannot_be_one_is_not_followed() {
        let tracker = tracker();
        let update = format!("add_user&passkey={}&id=1", "+".repeat(32));
        assert_eq!(tell_as(&tracker, &update, Absent::Keep), Err(NotFollowed::Passkey));
    }
}
