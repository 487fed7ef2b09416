//! The rules of private mode, driven with an invented clock: what each announce is told, what it
//! is worth, and what is written.

mod credit;
mod ledger;
mod peers;
mod registry;
mod site;
mod threads;
