//! Rows that wait, are taken, and come back.

use std::time::Duration;

use peerage_proto::Event;
use peerage_tracker::private::{Batch, LeftOut, MemberId, Terms, Token, TokenUse};

use crate::site::{START_SECS, Site, TORRENT, ask, only_peer};

#[test]
fn full_ledger_leaves_out_visits_and_owes_rows_but_never_credit() {
    let mut site = Site::new(Terms { ledger_rows_max: 0, ..Terms::default() });
    site.announce(ask(1));
    let batch = site.take();
    assert_eq!((batch.peers.len(), batch.torrents.len()), (0, 1));
    site.wait(60);
    site.announce(ask(1).moved(10, 20).left(0).event(Event::Completed));
    let batch = site.take();
    assert_eq!((batch.peers.len(), batch.members.len(), batch.snatches.len()), (0, 1, 1));
    let left_out = |gone, changed, seen| LeftOut { gone, changed, seen };
    assert_eq!(site.private().ledger().left_out(), left_out(0, 2, 0));
    site.change_terms(|terms| terms.ledger_rows_max = 1000);
    site.wait(60);
    site.announce(ask(1).moved(10, 20).left(0));
    let batch = site.take();
    assert_eq!(only_peer(&batch).remaining, 0, "what was owed is written with the next");
    assert_eq!(only_peer(&batch).completed_at_secs, Some(START_SECS + 60));
    site.wait(60);
    site.announce(ask(1).moved(10, 20).left(0));
    assert_eq!(site.take().visits.len(), 1);
    site.change_terms(|terms| terms.ledger_rows_max = 0);
    site.wait(60);
    site.announce(ask(1).moved(10, 20).left(0));
    assert_eq!(site.private().ledger().left_out(), left_out(0, 2, 1));
    site.announce(ask(2));
    site.announce(ask(1).moved(15, 20).left(0).event(Event::Stopped));
    site.wait(7300);
    assert_eq!(site.private().expire(site.now(), u32::MAX).peers, 1);
    assert_eq!(site.private().ledger().left_out(), left_out(2, 3, 1), "it stopped, it expired");
    let batch = site.take();
    assert_eq!((batch.peers.len(), batch.members[0].uploaded), (0, 5), "credit finds room");
}

#[test]
fn ledger_tells_how_much_waits_and_how_long() {
    let mut site = Site::default();
    let ledger = |site: &Site| {
        let ledger = site.private().ledger();
        (ledger.len(), ledger.oldest(site.now()))
    };
    assert_eq!(ledger(&site), (0, None));
    site.announce(ask(1));
    site.wait(30);
    site.announce(ask(1).moved(10, 0).left(0).event(Event::Completed));
    site.wait(5);
    assert_eq!(ledger(&site), (4, Some(Duration::from_secs(35))));
    let queued = site.private().ledger().queued();
    assert_eq!((queued.members, queued.torrents, queued.peers), (1, 1, 1));
    assert_eq!((queued.snatches, queued.visits, queued.tokens), (1, 0, 0));
    let batch = site.private().ledger().take_batch(100);
    assert_eq!(ledger(&site), (0, Some(Duration::from_secs(35))), "it is on its way");
    site.wait(10);
    site.private().ledger().put_back(batch.clone());
    assert_eq!(ledger(&site), (4, Some(Duration::from_secs(45))));
    assert_eq!(site.take(), batch);
    site.private().ledger().put_back(Batch::default());
    assert_eq!(ledger(&site), (0, None), "it is written");
    for rows_max in 1..6 {
        site.private().ledger().put_back(batch.clone());
        let mut rows = 0;
        loop {
            let part = site.private().ledger().take_batch(rows_max);
            assert!(part.rows() <= rows_max);
            rows += part.rows();
            if part.rows() < rows_max {
                break;
            }
        }
        assert_eq!((rows, ledger(&site).0), (4, 0));
    }
}

#[test]
fn row_put_back_merges_with_what_came_meanwhile() {
    let mut site = Site::default();
    let token = Token { member: MemberId(1), torrent: TORRENT };
    site.private().add_token(token);
    site.announce(ask(1));
    site.wait(10);
    site.announce(ask(1).moved(100, 50).left(60));
    let failed = site.take();
    site.wait(10);
    // Seen again, so the row that comes back is written with the later time and no speed.
    site.announce(ask(1).moved(100, 50).left(60));
    site.private().ledger().put_back(failed.clone());
    let batch = site.take();
    let row = only_peer(&batch);
    assert_eq!((row.announces, row.at_secs, row.upload_speed), (3, START_SECS + 20, 0));
    assert_eq!((row.uploaded, row.remaining), (100, 60));
    assert_eq!(batch.members, failed.members);
    // Moved on, so the newer row stays and the differences add up.
    site.wait(10);
    site.announce(ask(1).moved(130, 70).left(0).event(Event::Completed));
    site.private().ledger().put_back(batch);
    site.wait(10);
    site.announce(ask(1).moved(130, 70).left(0));
    let batch = site.take();
    let row = only_peer(&batch);
    assert_eq!((row.uploaded, row.remaining, row.announces), (130, 0, 5));
    assert_eq!((batch.members[0].uploaded, batch.members[0].downloaded), (130, 0));
    assert_eq!((batch.torrents[0].balance_delta, batch.torrents[0].completed), (60, 1));
    assert_eq!(batch.token_uses, [TokenUse { token, downloaded: 70 }]);
    assert_eq!(batch.expired_tokens, [token]);
    assert_eq!(batch.snatches.len(), 1);
}
