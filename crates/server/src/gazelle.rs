//! A Gazelle site's tracker: what the site tells, asks and is told.
//!
//! - `answers`: what its requests are answered with.
//! - `calls`: what the site is told unasked.
//! - `ocelot_conf`: Ocelot's configuration in our settings.
//! - `site`: the site's connections.
//! - `updates`: its updates, as they come and after a reload.

pub(crate) mod answers;
pub(crate) mod calls;
pub(crate) mod ocelot_conf;
pub(crate) mod site;
pub(crate) mod updates;
