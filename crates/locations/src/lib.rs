//! Where an address is: location databases packed for small memory.
//!
//! Bytes in, coordinates out: no file, no clock. Whoever opens the files is in `server`.

#![forbid(unsafe_code)]
