//! What a tracker that is one of two nodes has beside it: Redis, the other node, and the database
//! of a site with members.

use std::path::Path;

use peerage_testkit::redis::Redis;
use peerage_testkit::{GazelleTables, MariaDb, Server, SqlMode};

/// The password by which the site tells; `nodes.mjs` has it too.
const SITE_PASSWORD: &str = "sitesitesitesitesitesitesitesite";

/// Whose peers are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peers {
    Anyones,
    Members,
}

/// What is shared, and with whom.
pub(crate) struct Sharing {
    // Dropped first: it writes to the others.
    other: Option<Server>,
    redis: Redis,
    database: Option<MariaDb>,
}

impl Sharing {
    pub(crate) fn start(peers: Peers) -> Result<Self, String> {
        let database = match peers {
            Peers::Anyones => None,
            Peers::Members => {
                let database = MariaDb::start(SqlMode::Strict)?;
                database.make_gazelle(GazelleTables::Ops)?;
                Some(database)
            }
        };
        let mut sharing = Self { other: None, redis: Redis::start(&[])?, database };
        let settings = sharing.settings();
        let settings: Vec<(&str, &str)> =
            settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let flags = ["--private"];
        let flags = if peers == Peers::Members { &flags[..] } else { &[] };
        let program = Path::new(env!("CARGO_BIN_EXE_peerage"));
        sharing.other = Some(Server::start_with(program, flags, &settings)?);
        Ok(sharing)
    }

    /// With which both nodes run.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![("PEERAGE__SHARED__REDIS", self.redis.url())];
        if let Some(database) = &self.database {
            settings.push(("PEERAGE__DATABASE__URL", database.url()));
            settings.push(("PEERAGE__GAZELLE__SITE_PASSWORD", SITE_PASSWORD.to_owned()));
        }
        settings
    }

    /// Redis is gone.
    pub(crate) fn lose_redis(&mut self) -> Result<(), String> {
        self.redis.kill()
    }

    /// It is back, and empty.
    pub(crate) fn find_redis(&mut self) -> Result<(), String> {
        self.redis.start_again()
    }

    /// Of three messages of a node two do not arrive.
    pub(crate) fn lose_messages(&self) -> Result<(), String> {
        let script = "for _, number in ipairs({1, 3}) do redis.call('PUBLISH', 'peerage:1:news', \
                      '\\1' .. string.rep('\\7', 8) .. '\\64' .. struct.pack('>I4', number)) end";
        self.redis.ask(&["EVAL", script, "0"]).map(drop)
    }
}
