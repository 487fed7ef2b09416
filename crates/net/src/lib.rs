//! Datagrams in batches: many in one system call, many out of one.
//!
//! A [`Batch`] receives from a [`Socket`] what is there, up to its size, and answers any of it; it
//! never waits. A [`Waiter`] waits until a socket has something. Nothing here knows what a datagram
//! says.
//!
//! [`Backend::Batched`] is `recvmmsg` and `sendmmsg` (Linux); [`Backend::Single`] is one system
//! call of the standard library a datagram, anywhere. Both stand behind the same face, and one
//! through io_uring would be a third: what a caller sees is only "receive some, answer some".
//!
//! The only crate of the workspace with `unsafe` code, which is why [`defer_accept`], of use to TCP
//! alone, is here, [`return_blocks_from`], which is the allocator's, and [`Inherited`], which is
//! what the program before left. Each such block is one system call or the making of its arguments;
//! every byte the kernel writes is read back by safe code.

mod batch;
#[cfg(target_os = "linux")]
mod batched;
#[cfg(unix)]
mod inherit;
mod memory;
mod single;
mod socket;
mod wait;

pub use batch::{Backend, Batch, DATAGRAM_BYTES_MAX, Received, Sent};
#[cfg(unix)]
pub use inherit::{Inherited, file_in_memory, hand_over};
pub use memory::return_blocks_from;
pub use socket::{Options, Socket, check_free, check_one_family, defer_accept};
pub use wait::Waiter;
