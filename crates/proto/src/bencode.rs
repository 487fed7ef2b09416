//! Canonical bencode, written: sorted keys, no leading zeros (BEP 3).
