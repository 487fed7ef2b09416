//! Our own tables in SQLite, MariaDB and PostgreSQL: the same tests for each.

use std::time::{SystemTime, UNIX_EPOCH};

use peerage_proto::InfoHash;
use peerage_sql::{
    Access, EDITS_MAX, Edit, Edited, ManageError, MemberEntry, NotEdited, Schema, Store,
    TorrentEntry,
};
use peerage_testkit::{Folder, MariaDb, Postgres, SqlMode};
use peerage_tracker::private::{
    Batch, Client, Member, MemberId, Passkey, PeerRow, Pricing, Token, Torrent, TorrentId,
};

use crate::gazelle::check_written;
use crate::rows::{ODD_PEER_ID, key, member, peer, snatch, token_use, torrent, visit};
use crate::{open, run};

/// Runs `test` with an empty database of each kind.
fn each(test: &impl AsyncFn(&str, &Store)) {
    let folder = Folder::new("sqlite").expect("a temporary folder");
    let sqlite = format!("sqlite:{}", folder.path().join("private.db").display());
    let mariadb = MariaDb::start(SqlMode::Strict).expect("it starts");
    let postgres = Postgres::start().expect("it starts");
    for url in [sqlite, mariadb.url(), postgres.url()] {
        let name = url.split(':').next().expect("it has a scheme");
        run(async {
            let store = open(&url, Schema::Own).await;
            test(name, &store).await;
            // What was made once is found again.
            store.close().await;
            open(&url, Schema::Own).await.load().await.expect("the tables are up to date");
        });
    }
}

fn member_entry(name: &str, passkey: u8) -> MemberEntry {
    MemberEntry {
        member: Member {
            id: MemberId(0),
            passkey: Passkey([passkey; 32]),
            can_leech: true,
            protected: false,
            free_leech: true,
            double_upload: false,
            download_slots: Some(3),
        },
        name: name.to_owned(),
        enabled: true,
        uploaded: 0,
        downloaded: 0,
        created_at_secs: 0,
    }
}

fn torrent_entry(name: &str, byte: u8) -> TorrentEntry {
    TorrentEntry {
        torrent: Torrent {
            id: TorrentId(0),
            info_hash: InfoHash([byte; 20]),
            pricing: Pricing::Neutral,
            double_upload: true,
            completed: 0,
            balance: 0,
        },
        name: name.to_owned(),
        seeders: 0,
        leechers: 0,
        created_at_secs: 0,
    }
}

#[test]
fn what_is_put_in_is_listed_loaded_and_removed() {
    each(&async |name, store| {
        let own = store.own().expect("the tables are ours");
        let before = store.revision().await.expect("it counts");
        let entry = member_entry("Ann 'O\"Brien' ü", b'a');
        let id = own.put_member(&entry).await.expect("it is new");
        let second = own.put_member(&member_entry("Bob", b'b')).await.expect("it is new");
        assert!(second > id, "{name}");
        for taken in [member_entry("Bob", b'c'), member_entry("Carl", b'b')] {
            assert_eq!(own.put_member(&taken).await, Err(ManageError::Taken), "{name}");
        }
        let found = own.member_by_name(&entry.name).await.expect("it reads").expect("it is there");
        assert_eq!(found.member, Member { id, ..entry.member.clone() }, "{name}");
        assert!(found.created_at_secs > 1_700_000_000);
        assert_eq!(own.member_by_passkey(&Passkey([b'a'; 32])).await, Ok(Some(found.clone())));

        let mut changed = found.clone();
        changed.member.download_slots = None;
        changed.member.passkey = Passkey([b'z'; 32]);
        changed.enabled = false;
        assert_eq!(own.put_member(&changed).await, Ok(id), "{name}");
        assert_eq!(own.member(id).await, Ok(Some(changed)), "{name}");
        let gone = MemberEntry { member: Member { id: MemberId(99), ..found.member }, ..found };
        assert!(matches!(own.put_member(&gone).await, Err(ManageError::Invalid(_))), "{name}");

        let file = own.put_torrent(&torrent_entry("a file", 0)).await.expect("it is new");
        own.put_torrent(&torrent_entry("another", 0xff)).await.expect("it is new");
        let taken = own.put_torrent(&torrent_entry("a third", 0xff)).await;
        assert_eq!(taken, Err(ManageError::Taken));
        let torrent = own.torrent(InfoHash([0; 20])).await.expect("it reads").expect("it is there");
        assert_eq!((torrent.torrent.id, torrent.name.as_str()), (file, "a file"));

        let client = |prefix: &str| Client { prefix: prefix.into(), name: "It".to_owned() };
        own.put_client(&client("-TR"), Access::Deny).await.expect("it is right");
        own.put_client(&client("-TR"), Access::Allow).await.expect("it changes its list");
        own.put_client(&client("-XX"), Access::Deny).await.expect("it is right");
        let wrong = own.put_client(&client(""), Access::Deny).await;
        assert!(matches!(wrong, Err(ManageError::Invalid(_))));

        let token = Token { member: second, torrent: file };
        own.put_token(token).await.expect("both are there");
        own.put_token(token).await.expect("once more is no matter");
        own.put_token(Token { member: MemberId(99), torrent: file })
            .await
            .expect("nothing is done");

        check_listed(name, store, token).await;
        assert_eq!(own.remove_client(b"-TR").await, Ok(true));
        assert_eq!(own.remove_client(b"-TR").await, Ok(false));
        assert_eq!(own.remove_member(second).await, Ok(true));
        assert_eq!(own.remove_member(second).await, Ok(false));
        assert_eq!(own.remove_torrent(file).await, Ok(true));
        let loaded = store.load().await.expect("it reads");
        assert_eq!((loaded.members.len(), loaded.torrents.len(), loaded.tokens.len()), (0, 1, 0));
        assert!(store.revision().await.expect("it counts") > before + 10, "{name}");
    });
}

/// What the test above has put in, as it is loaded and listed.
async fn check_listed(name: &str, store: &Store, token: Token) {
    let own = store.own().expect("the tables are ours");
    let (second, file) = (token.member, token.torrent);
    let client = |prefix: &str| Client { prefix: prefix.into(), name: "It".to_owned() };
    let loaded = store.load().await.expect("it reads");
    let ids: Vec<_> = loaded.members.iter().map(|member| member.id).collect();
    assert_eq!(ids, [second], "{name}: who is not enabled is left out");
    assert_eq!(loaded.torrents.len(), 2);
    assert_eq!(loaded.torrents[0], Torrent { id: file, ..torrent_entry("", 0).torrent });
    assert_eq!((loaded.clients, loaded.denied_clients), (vec![client("-TR")], vec![client("-XX")]));
    assert_eq!(loaded.tokens, [token]);
    assert_eq!(own.tokens(second).await.expect("it reads").len(), 1);
    assert_eq!(own.members(MemberId(0), 1).await.expect("it reads").len(), 1);
    assert_eq!(own.members(MemberId(second.0 - 1), 10).await.expect("it reads").len(), 1);
    assert_eq!(own.torrents(TorrentId(0), 10).await.expect("it reads").len(), 2);
    assert_eq!(own.clients().await.expect("it reads").len(), 2);
}

#[test]
fn every_table_is_written_and_read_back() {
    each(&async |name, store| {
        let own = store.own().expect("the tables are ours");
        let ann = own.put_member(&member_entry("Ann", b'a')).await.expect("it is new");
        let file = own.put_torrent(&torrent_entry("a file", 1)).await.expect("it is new");
        let (m, t) = (ann.0, file.0);
        own.put_token(Token { member: ann, torrent: file }).await.expect("both are there");
        let mut row = peer(key(m, t, ODD_PEER_ID));
        row.address = Some("2001:db8::1".parse().expect("an address"));
        row.download_speed = 6;
        row.completed_at_secs = Some(1_700_000_000);
        let mut other = peer(key(m, t, peerage_proto::PeerId([7; 20])));
        other.active = false;
        let first = Batch {
            members: vec![member(m, 10, 20), member(999, 1, 1)],
            torrents: vec![torrent(t, 1, 2, -50)],
            peers: vec![row.clone(), other],
            visits: vec![visit(key(m, 999, ODD_PEER_ID))],
            snatches: vec![snatch(m, t)],
            token_uses: vec![token_use(m, t, 50)],
            ..Batch::default()
        };
        check_written(&store.write(first).await, 8);
        assert_eq!(store.peers(0).await, Ok(vec![row.clone()]), "{name}");
        row.completed_at_secs = None;
        row.remaining = 0;
        row.user_agent.clear();
        let second = Batch {
            members: vec![member(m, 1, 2)],
            torrents: vec![torrent(t, 0, 1, -50)],
            peers: vec![row.clone()],
            visits: vec![visit(row.key)],
            snatches: vec![snatch(m, t)],
            token_uses: vec![token_use(m, t, 5)],
            expired_tokens: vec![Token { member: ann, torrent: file }],
        };
        check_written(&store.write(second).await, 7);
        assert_eq!(store.load().await.expect("it reads").tokens, []);
        row.user_agent = "Transmission/4.0.6".to_owned();
        let seen = visit(row.key);
        row.completed_at_secs = Some(1_700_000_000);
        (row.announces, row.timespent_secs) = (seen.announces, seen.timespent_secs);
        (row.seedtime_secs, row.at_secs) = (seen.seedtime_secs, seen.at_secs);
        (row.upload_speed, row.download_speed) = (0, 0);
        let again = row.clone();
        assert_eq!(store.peers(0).await, Ok(vec![row]), "{name}");
        let entry = own.member(ann).await.expect("it reads").expect("it is there");
        assert_eq!((entry.uploaded, entry.downloaded), (11, 22), "{name}");
        let entry = own.torrents(TorrentId(0), 9).await.expect("it reads").remove(0);
        let stands =
            (entry.seeders, entry.leechers, entry.torrent.completed, entry.torrent.balance);
        assert_eq!(stands, (0, 2, 3, 20), "{name}: the balance adds up");
        let tokens = own.tokens(ann).await.expect("it reads");
        assert_eq!((tokens[0].downloaded, tokens[0].expired), (55, true), "{name}");
        own.put_token(tokens[0].token).await.expect("both are there");
        assert_eq!(store.load().await.expect("it reads").tokens, [tokens[0].token]);
        let mut snatches = Vec::new();
        let give = |member, torrent| snatches.push((member, torrent));
        store.snatches(&[file], give).await.expect("it reads");
        assert_eq!(snatches, [(ann, file)], "{name}");
        check_cleared(name, store, again).await;
    });
}

/// Who is here after a start, where `row` is the only peer.
async fn check_cleared(name: &str, store: &Store, row: PeerRow) {
    store.clear(None).await.expect("it writes");
    assert_eq!(store.peers(0).await, Ok(Vec::new()), "{name}: none is active");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970");
    let at_secs = since.as_secs();
    let peers = vec![PeerRow { at_secs, ..row }];
    check_written(&store.write(Batch { peers, ..Batch::default() }).await, 1);
    store.clear(Some(at_secs)).await.expect("it writes");
    assert_eq!(store.peers(0).await.expect("it reads").len(), 1, "{name}: it was just here");
    store.clear(Some(at_secs + 1)).await.expect("it writes");
    assert_eq!(store.peers(0).await, Ok(Vec::new()), "{name}: it was here too long ago");
}

#[test]
fn rows_of_one_key_in_a_batch_count_each() {
    each(&async |name, store| {
        let own = store.own().expect("the tables are ours");
        let ann = own.put_member(&member_entry("ann", b'a')).await.expect("it is new");
        let file = own.put_torrent(&torrent_entry("a file", 1)).await.expect("it is new");
        let (m, t) = (ann.0, file.0);
        let older = peer(key(m, t, ODD_PEER_ID));
        let newer = PeerRow { uploaded: 700, ..older.clone() };
        let batch = Batch {
            members: vec![member(m, 1, 2), member(m, 10, 20)],
            torrents: vec![torrent(t, 9, 1, 0), torrent(t, 4, 2, 0)],
            peers: vec![older, newer.clone()],
            ..Batch::default()
        };
        check_written(&store.write(batch).await, 3);
        let entry = own.member(ann).await.expect("it reads").expect("it is there");
        assert_eq!((entry.uploaded, entry.downloaded), (11, 22), "{name}");
        let entry = own.torrents(TorrentId(0), 9).await.expect("it reads").remove(0);
        assert_eq!((entry.seeders, entry.torrent.completed), (4, 3), "{name}");
        let rows = store.peers(0).await.expect("it reads");
        assert_eq!((rows.len(), rows[0].uploaded), (1, newer.uploaded), "{name}");
    });
}

#[test]
fn many_changes_are_made_together_or_not_at_all() {
    each(&async |name, store| {
        let own = store.own().expect("the tables are ours");
        let put = |entry| Edit::PutMember(entry);
        let edits = [
            put(member_entry("Ann", b'a')),
            put(member_entry("Bob", b'b')),
            Edit::PutTorrent(torrent_entry("100 %_! ü", 1)),
        ];
        let done = own.edit(&edits).await.expect("all are new");
        assert_eq!(done.done.len(), 3, "{name}");
        assert_eq!(store.revision().await, Ok(done.revision), "{name}");
        let (ann, bob) = (MemberId(done.done[0]), MemberId(done.done[1]));
        let token = Token { member: ann, torrent: TorrentId(done.done[2]) };

        let edits = [
            Edit::RemoveMember(bob),
            Edit::PutToken(token),
            put(member_entry("Carl", b'a')),
            put(member_entry("Dan", b'd')),
        ];
        let refused = own.edit(&edits).await;
        assert_eq!(refused, Err(NotEdited { index: 2, error: ManageError::Taken }), "{name}");
        assert_eq!(store.revision().await, Ok(done.revision), "{name}");
        let names = ["Bob", "Ann", "Carl", "Nobody"].map(str::to_owned);
        let mut found = own.members_named(&names).await.expect("it reads");
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let ids: Vec<MemberId> = found.iter().map(|entry| entry.member.id).collect();
        assert_eq!(ids, [ann, bob], "{name}");
        assert_eq!(own.tokens(ann).await, Ok(Vec::new()), "{name}");

        // What the one leaves the next may have.
        let edits = [Edit::RemoveMember(bob), put(member_entry("Bob", b'b'))];
        let changed = own.edit(&edits).await.expect("the name is free again");
        assert_eq!((changed.revision, changed.done[0]), (done.revision + 1, 1), "{name}");
        assert!(changed.done[1] > bob.0, "{name}");
        assert_eq!(own.edit(&[]).await, Ok(Edited::default()), "{name}");
        let many = vec![Edit::RemoveMember(bob); EDITS_MAX + 1];
        assert!(own.edit(&many).await.is_err(), "{name}");

        for (like, count) in [("N", 1), ("o", 1), ("", 2), ("%", 0), ("_nn", 0)] {
            let found = own.members_like(like, MemberId(0), 10).await.expect("it reads");
            assert_eq!(found.len(), count, "{name}: {like}");
        }
        for (like, count) in [("%_!", 1), ("ü", 1), ("0 ", 1)] {
            let found = own.torrents_like(like, TorrentId(0), 10).await.expect("it reads");
            assert_eq!(found.len(), count, "{name}: {like}");
        }
        let hashes = [InfoHash([1; 20]), InfoHash([2; 20])];
        let torrents = own.torrents_of(&hashes).await.expect("it reads");
        assert_eq!(own.torrents_numbered(&[token.torrent]).await, Ok(torrents), "{name}");
    });
}
