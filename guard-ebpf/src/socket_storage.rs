//! Storage that the kernel keeps with a socket.
//!
//! aya-ebpf has such a map, but one that can be had from one kind of program alone, that can't be pinned, and whose
//! entries an accepted socket does not get a copy of. So the map is defined here, as the kernel's own documentation
//! has it (Documentation/bpf/map_sk_storage.rst): by types in BTF, which the loader reads.

use core::ffi::c_void;
use core::ptr::{null, null_mut};

use aya_ebpf::bindings::bpf_map_type::BPF_MAP_TYPE_SK_STORAGE;
use aya_ebpf::bindings::{BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE};
use aya_ebpf::helpers::generated::bpf_sk_storage_get;

/// `LIBBPF_PIN_BY_NAME`, which the loader knows too.
const BY_NAME: usize = 1;

/// One value for each socket that was given one. Only its shape is read, by the loader, from the type in BTF.
#[repr(C)]
pub struct SocketStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
    pinning: *const [i32; BY_NAME],
}

// SAFETY: the pointers are never followed; they only carry types.
unsafe impl<T> Sync for SocketStorage<T> {}

impl<T> SocketStorage<T> {
    /// The map, with an entry of its own name.
    #[must_use]
    pub const fn pinned() -> Self {
        Self { r#type: null(), key: null(), value: null(), map_flags: null(), pinning: null() }
    }

    const fn map(&'static self) -> *mut c_void {
        core::ptr::from_ref(self).cast_mut().cast()
    }

    /// The value of a socket; `None` where it has none, and where it is no whole socket.
    ///
    /// # Safety
    ///
    /// `socket` must be a socket that the kernel gave this program, and not null.
    #[inline(always)]
    #[must_use]
    pub unsafe fn get(&'static self, socket: *mut c_void) -> Option<*mut T> {
        // SAFETY: the caller vouches for the socket; the map is this one.
        let value = unsafe { bpf_sk_storage_get(self.map(), socket, null_mut(), 0) };
        if value.is_null() { None } else { Some(value.cast()) }
    }

    /// The value of a socket, made of zeroes where it has none; `None` where there is no memory for it.
    ///
    /// # Safety
    ///
    /// As for [`get`](Self::get); zeroes must be a value.
    #[inline(always)]
    #[must_use]
    pub unsafe fn get_or_make(&'static self, socket: *mut c_void) -> Option<*mut T> {
        let flags = u64::from(BPF_SK_STORAGE_GET_F_CREATE);
        // SAFETY: the caller vouches for the socket; the map is this one.
        let value = unsafe { bpf_sk_storage_get(self.map(), socket, null_mut(), flags) };
        if value.is_null() { None } else { Some(value.cast()) }
    }
}
