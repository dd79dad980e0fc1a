//! `setsockopt` of processes: ways past the hooks of interfaces are refused to all but those of some cgroups.
//!
//! The kernel asks in the process's own context, before its own handler sees the option.

use aya_ebpf::bindings::bpf_sockopt;
use aya_ebpf::helpers::generated::bpf_get_current_ancestor_cgroup_id;
use aya_ebpf::programs::SockoptContext;
use guard_common::abi::{Bypass, bypass_index};

use crate::atomic;
use crate::maps::{BYPASS_ALLOWED, BYPASSES};

/// Levels of cgroups at which an allowed one is looked for. Whoever is deeper is in one of these too.
const LEVELS: i32 = 32;

/// Whether the process may set the option.
#[inline(always)]
#[must_use]
pub fn may_set(context: &SockoptContext) -> bool {
    let sockopt = context.sockopt;
    // SAFETY: the context is the kernel's.
    let (level, option) = unsafe { ((*sockopt).level, (*sockopt).optname) };
    let Some(bypass) = Bypass::of_option(level, option) else {
        keep_long_values(sockopt);
        return true;
    };
    // A value that passes is left with its length, so that the kernel goes on with the copy that was looked at, and
    // not with the process's own memory, which another thread may have changed by then.
    if !bypass.is_opened_by(value(sockopt)) {
        return true;
    }
    let allowed = is_allowed();
    if let Some(count) = BYPASSES.get_ptr_mut(bypass_index(bypass, allowed)) {
        // SAFETY: the pointer is to a `u64` of a map, which every processor changes by this operation alone.
        unsafe { atomic::fetch_add(count, 1) };
    }
    allowed
}

/// The value, where it is one of four bytes.
#[inline(always)]
fn value(sockopt: *const bpf_sockopt) -> Option<u32> {
    // SAFETY: the context is the kernel's.
    let (begin, end, len) = unsafe {
        let begin = (*sockopt).__bindgen_anon_2.optval as usize;
        (begin, (*sockopt).__bindgen_anon_3.optval_end as usize, (*sockopt).optlen)
    };
    if len != size_of::<u32>() as i32 || begin + size_of::<u32>() > end {
        return None;
    }
    // SAFETY: the four bytes are the kernel's copy of the value, as was just seen.
    Some(unsafe { *(begin as *const u32) })
}

/// Has the kernel go on with the process's own memory where its copy is cut: a value longer than a page, such as a
/// table of iptables. Linux before 6.5 refuses it otherwise (Documentation/bpf/prog_cgroup_sockopt.rst).
#[inline(always)]
fn keep_long_values(sockopt: *mut bpf_sockopt) {
    // SAFETY: the context is the kernel's.
    unsafe {
        let begin = (*sockopt).__bindgen_anon_2.optval as usize;
        let copied = ((*sockopt).__bindgen_anon_3.optval_end as usize).wrapping_sub(begin);
        if i64::from((*sockopt).optlen) > copied as i64 {
            (*sockopt).optlen = 0;
        }
    }
}

/// Whether the calling process is in an allowed cgroup, or in one below.
#[inline(always)]
fn is_allowed() -> bool {
    for level in 0..LEVELS {
        // SAFETY: the helper takes a number, and gives 0 where the process is less deep.
        let id = unsafe { bpf_get_current_ancestor_cgroup_id(level) };
        if id == 0 {
            return false;
        }
        // SAFETY: only whether there is a value is asked.
        if unsafe { BYPASS_ALLOWED.get(id) }.is_some() {
            return true;
        }
    }
    false
}
