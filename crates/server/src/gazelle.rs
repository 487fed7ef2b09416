//! A Gazelle site's tracker: what the site tells, asks and is told.
//!
//! - `calls`: what the site is told unasked.
//! - `ocelot_conf`: Ocelot's configuration in our settings.
//! - `site`: the site's connections.

#[expect(dead_code, reason = "private mode is not served yet")]
pub(crate) mod calls;
pub(crate) mod ocelot_conf;
#[expect(dead_code, reason = "private mode is not served yet")]
pub(crate) mod site;
