//! A pinned map as root can change it: its bytes, read and overwritten by bpf(2), whoever's they are.

use std::ffi::c_long;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use aya::maps::MapData;
use guard_common::abi::Live;

/// `BPF_MAP_LOOKUP_ELEM`, `BPF_MAP_UPDATE_ELEM`, `BPF_MAP_DELETE_ELEM`, `BPF_MAP_GET_NEXT_KEY` and `BPF_MAP_FREEZE` (linux/bpf.h).
const LOOKUP: c_long = 1;
const UPDATE: c_long = 2;
const DELETE: c_long = 3;
const NEXT_KEY: c_long = 4;
const FREEZE: c_long = 22;

/// An open map, of one value for all processors.
#[derive(Debug)]
pub struct RawMap {
    map: MapData,
    key_size: usize,
    value_size: usize,
}

impl RawMap {
    /// Opens the map that is pinned at this path.
    ///
    /// # Errors
    /// Where none is.
    pub fn open(path: &Path) -> Result<Self> {
        let map = MapData::from_pin(path).with_context(|| format!("open {}", path.display()))?;
        let info = map.info()?;
        let (key_size, value_size) = (info.key_size() as usize, info.value_size() as usize);
        Ok(Self { map, key_size, value_size })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// Where there is none.
    pub fn get(&self, key: &[u8]) -> Result<Vec<u8>> {
        // The kernel rounds values up to 8 bytes.
        let mut value = vec![0; self.value_size.next_multiple_of(8)];
        self.call(LOOKUP, key, &mut value)?;
        value.truncate(self.value_size);
        Ok(value)
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set(&self, key: &[u8], value: &[u8]) -> Result<()> {
        ensure!(value.len() == self.value_size, "{} bytes for {}", value.len(), self.value_size);
        let mut value = value.to_vec();
        value.resize(self.value_size.next_multiple_of(8), 0);
        self.call(UPDATE, key, &mut value)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// Where it is not there.
    pub fn remove(&self, key: &[u8]) -> Result<()> {
        self.call(DELETE, key, &mut [])
    }

    /// The first key that there is; `None` where there is none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn first_key(&self) -> Result<Option<Vec<u8>>> {
        let mut key = vec![0; self.key_size];
        let mut attributes = [self.fd(), 0, key.as_mut_ptr() as u64, 0];
        // SAFETY: the kernel writes one key, for which there is room, and reads none: its address is null.
        match unsafe { call(NEXT_KEY, &mut attributes) } {
            Ok(()) => Ok(Some(key)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes the bytes of a key's value.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn change(&self, key: &[u8], change: impl FnOnce(&mut [u8])) -> Result<()> {
        let mut value = self.get(key)?;
        change(&mut value);
        self.set(key, &value)
    }

    /// Has no process write into the map from now on, for as long as it is there.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn freeze(&self) -> Result<()> {
        // SAFETY: the kernel is given no addresses.
        Ok(unsafe { call(FREEZE, &mut [self.fd(), 0, 0, 0]) }?)
    }

    fn fd(&self) -> u64 {
        u64::from(self.map.fd().as_fd().as_raw_fd().unsigned_abs())
    }

    fn call(&self, command: c_long, key: &[u8], value: &mut [u8]) -> Result<()> {
        ensure!(key.len() == self.key_size, "{} bytes for a key of {}", key.len(), self.key_size);
        // Of a command that has no value the kernel wants no address.
        let value_at = if value.is_empty() { 0 } else { value.as_mut_ptr() as u64 };
        let mut attributes = [self.fd(), key.as_ptr() as u64, value_at, 0];
        // SAFETY: the kernel reads a key and reads or writes a value of the map's sizes, for which there is room.
        Ok(unsafe { call(command, &mut attributes) }?)
    }
}

/// One bpf(2) call for an element of a map.
///
/// # Safety
///
/// The addresses must be of keys and values of the map's sizes.
unsafe fn call(command: c_long, attributes: &mut [u64; 4]) -> io::Result<()> {
    // SAFETY: the attributes live until the call returns, and their size is given; the caller vouches for the addresses.
    let done =
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of_val(attributes)) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The live word of the maps that are pinned below this path.
///
/// # Errors
/// Where it can't be read.
pub fn live(pin_path: &Path) -> Result<Live> {
    let control = RawMap::open(&pin_path.join("maps/CONTROL"))?.get(&[0; 4])?;
    let word = control.first_chunk().context("a word")?;
    Ok(Live(u32::from_ne_bytes(*word)))
}
