//! The running tracker beside a database that dies, stands still, is full, refuses a row or is not
//! what the operator says it is: announces are answered all along, and the sums come out exact.
//!
//! Each reply is looked at where it comes in; that all of them were counted is told by the number
//! of announces that the tables have of each client.

mod crowd;
mod mariadb;
mod mistakes;
mod own;
mod stop;
mod tls;
mod tracker;
