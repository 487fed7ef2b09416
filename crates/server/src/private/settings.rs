//! What `[private]`, `[database]` and `[gazelle]` mean.

use std::path::Path;
use std::time::Duration;

use peerage_proto::gazelle::Style;
use peerage_sql::{GazelleDialect, Options, Schema};
use peerage_tracker::gazelle::Absent;
use peerage_tracker::private::{Pricing, Private, Terms};

use crate::config::value::{self, PricingWord, ReportStyle};
use crate::config::{Config, ConfigError};
use crate::gazelle::calls::SiteUrl;
use crate::gazelle::site::Passwords;

/// How private mode runs.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The database.
    pub(crate) store: Options,
    /// How often what is owed is written.
    pub(crate) flush_interval: Duration,
    /// How long the database may be out of reach at the start.
    pub(crate) start_timeout: Duration,
    /// How long a stop may take to write what is left.
    pub(crate) stop_timeout: Duration,
    /// On which members take part.
    pub(crate) terms: Terms,
    /// The site, where there is one.
    pub(crate) gazelle: Option<Gazelle>,
}

/// A Gazelle site.
#[derive(Clone)]
pub(crate) struct Gazelle {
    /// By which it is known; at least one.
    pub(crate) passwords: Passwords,
    /// How reports are written.
    pub(crate) style: Style,
    /// What it means that it leaves out a parameter.
    pub(crate) absent: Absent,
    /// Where it is told of used tokens.
    pub(crate) site_url: Option<SiteUrl>,
}

impl Settings {
    /// Works out what `config` means; `None` where the tracker is open. `peer_timeout` is that of
    /// all peers.
    pub(crate) fn new(
        config: &Config,
        peer_timeout: Duration,
    ) -> Result<Option<Self>, ConfigError> {
        let values = &config.values;
        if !values.private.enabled {
            return Ok(None);
        }
        let gazelle = gazelle(config)?;
        let is_gazelle = match values.database.schema {
            value::Schema::Auto => gazelle.is_some(),
            value::Schema::Gazelle => true,
            value::Schema::Peerage => false,
        };
        let schema = match is_gazelle {
            true => Schema::Gazelle(GazelleDialect::Auto),
            false => Schema::Own,
        };
        let url = values.database.url.0.clone();
        if url.is_empty() && is_gazelle {
            let right = "the site's database, such as \"mysql://user:password@host/gazelle\"";
            return Err(config.wrong("database.url", right.into()));
        }
        let mut store = Options::new(url, schema);
        store.readonly = values.database.readonly;
        store.shared = !values.shared.redis.0.is_empty();
        Ok(Some(Self {
            store,
            flush_interval: Duration::from_secs(values.database.flush_interval.0),
            start_timeout: Duration::from_secs(values.database.start_timeout.0),
            stop_timeout: Duration::from_secs(values.database.stop_timeout.0),
            terms: terms(config, peer_timeout),
            gazelle,
        }))
    }

    /// Whether there are updates: of a site, or of other nodes.
    pub(super) fn takes_updates(&self) -> bool {
        self.gazelle.is_some() || self.store.shared
    }

    /// Puts into force what of the terms may change while the tracker runs.
    pub(crate) fn take_terms(&self, private: &Private) {
        let Terms { pricing, double_upload, .. } = self.terms;
        let now = private.terms();
        if (now.pricing, now.double_upload) != (pricing, double_upload) {
            private.change_terms(|terms| {
                (terms.pricing, terms.double_upload) = (pricing, double_upload);
            });
        }
    }

    /// How the database is opened, with the one in `data_dir` where none is named.
    pub(super) fn options(&self, data_dir: Option<&Path>) -> Options {
        let mut options = self.store.clone();
        if let Some(data_dir) = data_dir.filter(|_| options.url.is_empty()) {
            options.url = format!("sqlite:{}", data_dir.join(FILE).display());
        }
        options
    }
}

/// The database in the data folder.
const FILE: &str = "peerage.sqlite";

fn terms(config: &Config, peer_timeout: Duration) -> Terms {
    let values = &config.values.private;
    Terms {
        pricing: match values.pricing {
            PricingWord::Normal => Pricing::Normal,
            PricingWord::Free => Pricing::Free,
            PricingWord::Neutral => Pricing::Neutral,
        },
        double_upload: values.double_upload,
        peers_per_torrent_max: values.peers_per_torrent_max.to(),
        peers_max: values.peers_max.to(),
        peer_timeout,
        early_secs: u32::try_from(values.early.0).expect("its type bounds it"),
        charge_forbidden: values.charge_forbidden,
        bytes_per_sec_max: values.bytes_per_sec_max.0,
        deleted_kept: Duration::from_secs(values.reasons_kept.0),
        ledger_rows_max: values.ledger_rows_max.to(),
        ..Terms::default()
    }
}

fn gazelle(config: &Config) -> Result<Option<Gazelle>, ConfigError> {
    let values = &config.values.gazelle;
    let passwords = Passwords { site: values.site_password.0, report: values.report_password.0 };
    if passwords.site.is_none() && passwords.report.is_none() {
        return Ok(None);
    }
    let site_url = match values.site_url.as_str() {
        "" => None,
        url => Some(SiteUrl::parse(url).ok_or_else(|| {
            let right = "a URL such as \"http://127.0.0.1\" or \"https://site.example/folder\"";
            config.wrong("gazelle.site_url", right.into())
        })?),
    };
    let style = match values.report_style {
        ReportStyle::Json => Style::Json,
        ReportStyle::Text => Style::Text,
    };
    let absent = match values.absent_parameters {
        value::Absent::Keep => Absent::Keep,
        value::Absent::Ocelot => Absent::Ocelot,
    };
    Ok(Some(Gazelle { passwords, style, absent, site_url }))
}
