//! The running tracker as a Gazelle site has it: driven by the site's own requests, against a real
//! MariaDB with the site's tables, in both generations.

mod accounts;
mod life;
mod php;
mod reports;
mod site;
mod updates;

use php::Generation;

/// Both, for what has to hold for either.
const GENERATIONS: [Generation; 2] = [Generation::WhatCd, Generation::Ops];
