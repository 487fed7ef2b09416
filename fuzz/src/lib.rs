//! What must hold for any input: a function for each fuzz target, and the seeds it starts from.
//!
//! A target takes bytes and panics where a property does not hold. The fuzzer calls it through
//! `fuzz_targets/`, the tests here with seeds changed at random from a fixed start, and so can
//! whoever wants to run an input that was found again.

#![forbid(unsafe_code)]

mod endpoints;
mod locations;
mod parsers;
mod private;
mod seeds;
mod store;

pub use endpoints::{http_endpoint, udp_endpoint};
pub use locations::locations_csv;
pub use parsers::{
    access_list, announce_query, forwarded, gazelle_request, http_head, proxy_header, scrape_query,
    udp_request,
};
pub use private::private_endpoints;
pub use store::store;

/// A fuzz target.
#[derive(Clone, Copy)]
pub struct Target {
    /// As in `cargo fuzz run <name>`.
    pub name: &'static str,
    /// Panics where a property does not hold for the input.
    pub run: fn(&[u8]),
    /// Inputs that reach far into the code.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: [Target; 13] = [
    Target { name: "udp_request", run: udp_request, seeds: seeds::datagrams },
    Target { name: "http_head", run: http_head, seeds: seeds::heads },
    Target { name: "announce_query", run: announce_query, seeds: seeds::announce_queries },
    Target { name: "scrape_query", run: scrape_query, seeds: seeds::scrape_queries },
    Target { name: "forwarded", run: forwarded, seeds: seeds::forwarded },
    Target { name: "proxy_header", run: proxy_header, seeds: seeds::proxy_headers },
    Target { name: "gazelle_request", run: gazelle_request, seeds: seeds::gazelle_requests },
    Target { name: "access_list", run: access_list, seeds: seeds::access_lists },
    Target { name: "locations_csv", run: locations_csv, seeds: locations::csv_files },
    Target { name: "store", run: store, seeds: seeds::store_steps },
    Target { name: "udp_endpoint", run: udp_endpoint, seeds: seeds::udp_conversations },
    Target { name: "http_endpoint", run: http_endpoint, seeds: seeds::http_conversations },
    Target { name: "private_endpoints", run: private_endpoints, seeds: private::seeds },
];

#[cfg(test)]
mod tests {
    use super::*;

    const INPUTS: usize = 20_000;
    /// A longer input says nothing that a shorter one does not.
    const INPUT_BYTES_MAX: usize = 4096;

    /// xorshift64*: the same numbers at every run.
    struct Rng(u64);

    impl Rng {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
            number as usize % bound.max(1)
        }
    }

    /// Says on a panic which input was running.
    struct Running<'a>(&'static str, &'a [u8]);

    impl Drop for Running<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{}: b\"{}\"", self.0, self.1.escape_ascii());
            }
        }
    }

    /// Changes `input` in one place, by itself or with a part of `other`.
    fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
        const TELLING: &[u8] = b"\0\x01\x02\x7f\x80\xff0129%&=?# \r\n:,;[]/+-.aAgz\"";
        let at = rng.below(input.len());
        let end = at + rng.below((input.len() - at).min(64) + 1);
        match rng.below(8) {
            0 if !input.is_empty() => input[at] ^= 1 << rng.below(8),
            1 if !input.is_empty() => input[at] = TELLING[rng.below(TELLING.len())],
            2 => input.insert(at, TELLING[rng.below(TELLING.len())]),
            3 => input.truncate(at),
            4 => drop(input.drain(at..end)),
            5 => {
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
            6 => {
                let from = rng.below(other.len());
                let to = from + rng.below(other.len() - from + 1);
                input.splice(at..end, other[from..to].iter().copied());
            }
            _ => input.extend_from_slice(other),
        }
        input.truncate(INPUT_BYTES_MAX);
    }

    fn check(name: &str) {
        let target = TARGETS.into_iter().find(|target| target.name == name).expect("a target");
        let seeds = (target.seeds)();
        let run = |input: &[u8]| {
            let _running = Running(target.name, input);
            (target.run)(input);
        };
        seeds.iter().for_each(|seed| run(seed));
        let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
        for _ in 0..INPUTS {
            let mut input = seeds[rng.below(seeds.len())].clone();
            for _ in 0..=rng.below(4) {
                let other = &seeds[rng.below(seeds.len())];
                mutate(&mut input, other, &mut rng);
            }
            run(&input);
        }
    }

    macro_rules! each {
        ($($name:ident)*) => {$(
            mod $name {
                #[test]
                fn holds_for_mutated_seeds() {
                    super::check(stringify!($name));
                }
            }
        )*};
    }
    each! {
        udp_request http_head announce_query scrape_query forwarded proxy_header access_list
        locations_csv udp_endpoint http_endpoint gazelle_request store private_endpoints
    }
}
