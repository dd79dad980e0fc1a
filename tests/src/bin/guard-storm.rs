//! One sender of a storm: `guard-storm SECONDS SEED`, see [`guard_tests::storm`].

use std::process::ExitCode;

fn main() -> ExitCode {
    let numbers: Vec<u32> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [seconds, seed] = numbers[..] else {
        eprintln!("usage: guard-storm SECONDS SEED");
        return ExitCode::from(2);
    };
    match guard_tests::storm::send(u64::from(seconds), seed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
