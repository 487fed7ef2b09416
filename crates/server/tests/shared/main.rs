//! Nodes that share their swarms by way of a real Redis or Valkey: what clients of one see of
//! those of another.

mod credit;
mod failover;
mod faults;
mod llmpt;
mod logins;
mod meeting;
mod members;
mod memory;
mod node;
mod places;
mod releases;
mod site;
mod updates;
mod valkey;
mod watch;
