//! A Gazelle site's tracker: what the site tells, asks and is told.
//!
//! - `ocelot_conf`: Ocelot's configuration in our settings.

pub(crate) mod ocelot_conf;
