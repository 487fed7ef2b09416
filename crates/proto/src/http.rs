//! The HTTP tracker protocol: BEP 3, 7, 21, 23, 24, 31, 48.
