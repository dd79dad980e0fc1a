//! Frames, judged by the kernel's program and by the host.

use std::cell::RefCell;

use anyhow::{Context as _, Error, Result};

use super::frames;
use super::target::Target;
use crate::bpffs::BpfFs;
use crate::differential::Both;
use crate::privilege::can_bpf;

pub(super) const KERNEL: Target = Target {
    name: "kernel",
    what: "a frame, judged by the kernel's program and by the host",
    needs_bpf: true,
    take,
    seeds: frames::seeds,
    longest: frames::LONGEST,
};

struct Loaded {
    both: Both,
    _pins: BpfFs,
}

fn load() -> Result<Loaded> {
    can_bpf().map_err(Error::msg)?;
    let pins = BpfFs::new("fuzz").context("make a folder for pinned maps")?;
    Ok(Loaded { both: Both::new(&pins.path().join("guard"), false)?, _pins: pins })
}

fn take(input: &[u8]) {
    thread_local! {
        static LOADED: RefCell<Option<Loaded>> = const { RefCell::new(None) };
    }
    let Some((hook, link, from, frame)) = frames::case(input) else { return };
    LOADED.with_borrow_mut(|loaded| {
        let loaded = loaded.get_or_insert_with(|| {
            load().unwrap_or_else(|error| panic!("the programs can't be loaded: {error:#}"))
        });
        if let Err(error) = loaded.both.judge(hook, link, frame, &from) {
            panic!("{error:#}");
        }
    });
}
