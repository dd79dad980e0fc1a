//! tmp
#![no_std]
#![no_main]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "the program macros expand to public functions without docs"
)]
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use guard_common::interval;
use guard_common::packet::{self, Addr, Link};
use guard_ebpf::header;
use guard_ebpf::maps::*;

#[classifier]
pub fn t_parse(c: TcContext) -> i32 {
    let Some(s) = SCRATCH.get_ptr_mut(0) else { return 0 };
    let s = unsafe { &mut *s };
    if !header::copy(&c, s) {
        return 0;
    }
    match packet::parse(Link::Ethernet, &s.header, s.valid as usize, c.len() as usize, &mut s.packet) {
        packet::Parsed::Ip => 1,
        _ => 0,
    }
}

macro_rules! t {
    ($n:ident, |$c:ident, $s:ident, $t:ident, $p:ident| $e:expr) => {
        #[classifier]
        pub fn $n($c: TcContext) -> i32 {
            let Some(s) = SCRATCH.get_ptr_mut(0) else { return 0 };
            let $s = unsafe { &mut *s };
            let Some($t) = KernelTables::live() else { return 0 };
            let Some($p) = $t.policy() else { return 0 };
            $e
        }
    };
}
use guard_common::abi::*;
use guard_common::decide::{self, NoTrace};
use guard_common::tables::Tables;
use guard_ebpf::origin::SkbOrigin;
t!(t_tag, |c, s, t, p| decide::tag_by_layer(p, &s.packet.layers[0]) as i32);
t!(t_origin, |c, s, t, p| decide::tag_by_origin(p, &SkbOrigin(&c)) as i32);
t!(t_failsafe, |c, s, t, p| decide::failsafe_covers(p, &s.packet, &mut NoTrace) as i32);
t!(t_judge, |c, s, t, p| decide::judge_destinations(&s.packet, &t, p, c.len() as u64, &mut NoTrace)
    .map_or(0, |j| j.forbidden as i32));
t!(t_exempt, |c, s, t, p| decide::exempt(
    Hook::Egress,
    p,
    &t,
    &SkbOrigin(&c),
    &s.packet.layers[0],
    s.packet.layers[0].dst,
    Place(c.len() as u16),
    c.len() as u64,
    guard_ebpf::judge::boot_ns,
    &mut NoTrace
)
.map_or(0, |j| j as i32));
t!(t_decide, |c, s, t, p| {
    let d = decide::decide(
        Hook::Egress,
        packet::Parsed::Ip,
        &s.packet,
        &t,
        &SkbOrigin(&c),
        guard_ebpf::judge::boot_ns,
        &mut NoTrace,
    );
    (d.verdict as i32) | (d.exemption as i32) << 8
});
t!(t_account, |c, s, t, p| {
    let d = decide::Decision {
        verdict: if c.len() > 20 {
            guard_common::verdict::Verdict::Drop
        } else {
            guard_common::verdict::Verdict::Pass
        },
        reason: if c.len() > 30 {
            guard_common::verdict::Reason::Forbidden
        } else {
            guard_common::verdict::Reason::Permitted
        },
        place: Place(c.len() as u16),
        exemption: 0,
        layer: c.len(),
        tag: c.len() as u64,
        denied: c.len() as u64 & 7,
    };
    guard_ebpf::account::account(Hook::Egress, &d, &s.packet, &t, &SkbOrigin(&c));
    1
});
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
