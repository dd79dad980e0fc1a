//! Gives inputs to one target, as libFuzzer makes them: `cargo xtask fuzz` runs this.
//!
//! `GUARD_FUZZ` names the target; `list` prints all of them, one a line with tabs between: name, whether it needs root and BPF,
//! the most bytes of an input, what it reads. `GUARD_FUZZ_SEEDS` names a folder that the target's seeds are written into.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;
use std::{env, fs, process};

use anyhow::{Context as _, Result};
use guard_tests::fuzz::{TARGETS, Target, target};
use libfuzzer_sys::fuzz_target;

static CHOSEN: OnceLock<&Target> = OnceLock::new();

/// libFuzzer asks for this before it reads anything.
fn begin() -> Result<()> {
    let name = env::var("GUARD_FUZZ").context("GUARD_FUZZ names no target")?;
    if name == "list" {
        for Target { name, what, needs_bpf, longest, .. } in TARGETS {
            println!("{name}\t{needs_bpf}\t{longest}\t{what}");
        }
        process::exit(0);
    }
    let chosen = target(&name).with_context(|| format!("there is no target {name}"))?;
    if let Some(folder) = env::var_os("GUARD_FUZZ_SEEDS") {
        for (number, seed) in (chosen.seeds)()?.into_iter().enumerate() {
            let file = Path::new(&folder).join(format!("seed-{number}"));
            fs::write(&file, seed).with_context(|| file.display().to_string())?;
        }
    }
    CHOSEN.get_or_init(|| chosen);
    Ok(())
}

fuzz_target!(
    init: {
        if let Err(error) = begin() {
            eprintln!("error: {error:#}");
            process::exit(2);
        }
    },
    |input: &[u8]| {
        if let Some(chosen) = CHOSEN.get() {
            (chosen.take)(input);
        }
    }
);
