//! `/report` in both styles.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::php::{Generation, Php, REPORT_PASSWORD, body};
use crate::site::{ANN, Announce, BOB, HASH, OTHER_HASH, Site, client, escaped, members};

fn with_peers(generation: Generation, style: &str) -> Site {
    let settings = [("PEERAGE__GAZELLE__REPORT_STYLE", style)];
    let site = Site::with(generation, &members(generation), &settings);
    let ann = client(ANN, b"-qB4320-annannannann", 1001);
    let bob = client(BOB, b"-qB4320-bobbobbobbob", 1002);
    let started = Announce { event: "started", left: 10, ..Announce::default() };
    site.announce(ann, HASH, started);
    site.announce(ann, OTHER_HASH, started);
    site.announce(bob, HASH, Announce { left: 0, ..started });
    site.announce(client(&"x".repeat(32), b"-qB4320-nobodynobody", 1), HASH, started);
    site
}

fn json(php: Php, what: &str) -> Value {
    let text = php.report(what);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn stats_for_the_newer_site_are_json_by_name() {
    let site = with_peers(Generation::Ops, "json");
    let stats = json(site.php(), "stats");
    let value = |name: &str| stats[name]["value"].as_u64().unwrap_or_else(|| panic!("{name}"));
    assert_eq!((value("leechers tracked"), value("seeders tracked")), (2, 1));
    assert_eq!((value("successful announcements"), value("failed announcements")), (3, 1));
    assert_eq!(value("bad announce key received"), 1);
    assert!(value("connections opened") >= 5 && value("bytes read") > 1000);
    assert!(value("maximum resident set size") > 1 << 20);
    assert_eq!(stats.as_object().map(serde_json::Map::len), Some(38));
    let kinds: BTreeSet<_> =
        stats.as_object().into_iter().flatten().map(|(_, one)| one["type"].as_str()).collect();
    assert_eq!(kinds, ["byte", "elapsed", "number", "string"].map(Some).into());
    let reply = site.php().ask(REPORT_PASSWORD, "/report?get=stats");
    assert!(reply.ends_with("}\n"), "{reply}");
}

#[test]
fn stats_for_the_older_site_are_lines_by_label() {
    let site = with_peers(Generation::WhatCd, "text");
    let php = site.php();
    let reply = php.ask(REPORT_PASSWORD, "/report?get=stats");
    assert!(php.is_success(&reply), "{reply}");
    let text = php.report("stats");
    let figure = |label: &str| {
        let line = text.lines().find_map(|line| line.strip_suffix(label));
        line.and_then(|number| number.trim().parse::<u64>().ok())
    };
    assert!(text.starts_with("Uptime: 0 days, 00:0"), "{text}");
    assert_eq!((figure("leechers tracked"), figure("seeders tracked")), (Some(2), Some(1)));
    assert_eq!(text.lines().count(), 13);
}

#[test]
fn member_is_reported_with_what_the_site_looks_for() {
    let site = with_peers(Generation::Ops, "json");
    let php = site.php();
    let report = php.report(&format!("user&key={ANN}"));
    assert_eq!(
        report,
        "{\"id\":1,\"leeching\":2,\"seeding\":0,\"deleted\":0,\"protected\":0,\"can_leech\":1,\
         \"traced\":0}"
    );
    php.tell("trace_user", &[("passkey", ANN), ("trace", "1")]);
    assert_eq!(json(php, &format!("user&key={ANN}"))["traced"], 1);
    php.tell("trace_user", &[("passkey", ANN), ("trace", "0")]);
    assert_eq!(json(php, &format!("user&key={ANN}"))["traced"], 0);
    let failure = |what: &str| {
        let reply = php.ask(REPORT_PASSWORD, &format!("/report?get={what}"));
        body(&reply).split(':').nth(2).map(|text| text.trim_end_matches("12").to_owned())
    };
    assert_eq!(failure("user").as_deref(), Some("Announce key missing"));
    assert_eq!(failure("user&key=nobody").as_deref(), Some("Announce key not found"));
    assert_eq!(failure("everything").as_deref(), Some("unrecognized report query"));

    let site = with_peers(Generation::WhatCd, "text");
    let php = site.php();
    assert_eq!(php.report(&format!("user&key={ANN}")), "2 leeching\n0 seeding");
    let ask = |what: &str| {
        let reply = php.ask(REPORT_PASSWORD, &format!("/report?get={what}"));
        body(&reply).to_owned()
    };
    assert_eq!(ask("user&key=nobody"), "success");
    assert_eq!(ask("everything"), "Invalid action\nsuccess");
}

#[test]
fn torrent_is_reported_with_nine_keys() {
    let site = with_peers(Generation::Ops, "json");
    let php = site.php();
    let hash = escaped(HASH);
    php.tell("add_token", &[("info_hash", &hash), ("userid", "1")]);
    let report = json(php, &format!("torrent&info_hash={hash}"));
    assert_eq!(report.as_object().map(serde_json::Map::len), Some(9));
    assert_eq!(report["id"], 1);
    assert_eq!(report["leecher_list"], serde_json::json!([1]));
    assert_eq!(report["seeder_list"], serde_json::json!([2]));
    assert_eq!(report["fltoken_list"], serde_json::json!([1]));
    assert!(report["last_flushed"].is_u64(), "{report}");
    let reply = php.ask(REPORT_PASSWORD, "/report?get=torrent&info_hash=short");
    assert!(body(&reply).starts_with("d14:failure reason20:Unregistered torrent"), "{reply}");
}

#[test]
fn stats_for_prometheus_lose_no_line() {
    let site = with_peers(Generation::Ops, "json");
    let text = site.php().report("prom_stats");
    assert!(text.contains("\nocelot_leechers 2\n") && text.contains("\nocelot_seeders 1\n"));
    assert!(text.lines().last().is_some_and(|line| line.starts_with("ocelot_")), "{text}");
}

#[test]
fn check_tells_whether_secrets_tables_and_updates_agree() {
    let site = Site::with_members(Generation::Ops);
    let php = site.php();
    let check = json(php, "check");
    assert_eq!(check["ok"], true, "{check}");
    assert_eq!(check["members"], serde_json::json!({"tracker": 2, "tables": 2, "differ": 0}));
    assert_eq!(check["torrents"], serde_json::json!({"tracker": 2, "tables": 2, "differ": 0}));
    // The site writes a row, and its update does not come through.
    let insert = "INSERT INTO users_main (Username, PassHash, Enabled, torrent_pass) VALUES \
                  ('eve', '', '1', 'eveeveeveeveeveeveeveeveeveeve03')";
    site.database.query(insert).expect("it is the site's");
    php.ask(&"x".repeat(32), "/update?action=add_user");
    let check = json(php, "check");
    assert_eq!(check["ok"], false, "{check}");
    assert_eq!(check["members"], serde_json::json!({"tracker": 2, "tables": 3, "differ": 1}));
    assert_eq!(check["updates"]["wrong_site_passwords"], 1);
    let advice = check["advice"].to_string();
    assert!(advice.contains("site_password") && advice.contains("SIGUSR1"), "{advice}");
}

#[test]
fn members_and_the_age_of_the_queue_are_metrics() {
    let site = with_peers(Generation::Ops, "json");
    let stats = site.tracker.stats().expect("they are there");
    let private = &stats["private"];
    assert_eq!((&private["members"], &private["torrents"]), (&2.into(), &2.into()), "{private}");
    assert_eq!((&private["seeders"], &private["leechers"]), (&1.into(), &2.into()), "{private}");
    let metrics = site.tracker.get("/metrics").expect("they are there").text();
    for line in ["peerage_members 2\n", "peerage_ledger_rows ", "peerage_ledger_oldest_seconds "] {
        assert!(metrics.contains(&format!("\n{line}")), "{line}: {metrics}");
    }
}
