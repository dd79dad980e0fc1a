//! The tables as words, the least byte first: the same file on every machine.

use std::io::{self, Read, Write};

use guard_common::abi::{CgroupParent, LocalSet, Mark, PeerSet, PolicyTable, SmallTable, SmallTable6};
use guard_common::interval::build::GeoImage;
use guard_common::interval::{DETAIL_CAPACITY, Detail, V4_CAPACITY, V6_CAPACITY};

/// Something that has a fixed number of words.
pub(super) trait Field {
    /// Writes its words.
    fn write(&self, out: &mut impl Write) -> io::Result<()>;
    /// Reads its words.
    fn read(&mut self, from: &mut impl Read) -> io::Result<()>;
}

/// An integer of the tables.
trait Word: Copy {
    const BYTES: usize;
    fn put(self, bytes: &mut [u8]);
    fn take(bytes: &[u8]) -> Self;
}

macro_rules! words {
    ($($type:ty),+) => {
        $(
            impl Word for $type {
                const BYTES: usize = size_of::<Self>();
                fn put(self, bytes: &mut [u8]) {
                    bytes.copy_from_slice(&self.to_le_bytes());
                }
                fn take(bytes: &[u8]) -> Self {
                    bytes.try_into().map_or(0, Self::from_le_bytes)
                }
            }

            impl Field for $type {
                fn write(&self, out: &mut impl Write) -> io::Result<()> {
                    out.write_all(&self.to_le_bytes())
                }
                fn read(&mut self, from: &mut impl Read) -> io::Result<()> {
                    let mut bytes = [0; size_of::<Self>()];
                    from.read_exact(&mut bytes)?;
                    *self = Self::from_le_bytes(bytes);
                    Ok(())
                }
            }
        )+
    };
}

words!(u16, u32, u64);

impl<T: Field, const N: usize> Field for [T; N] {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.iter().try_for_each(|item| item.write(out))
    }

    fn read(&mut self, from: &mut impl Read) -> io::Result<()> {
        self.iter_mut().try_for_each(|item| item.read(from))
    }
}

/// The fields of a struct, each of which is named once: those that are written, and those that are not. A field
/// that is added has to be put to one or the other.
macro_rules! fields {
    ($type:ident $(<$n:ident>)? { $($field:ident),+ $(,)? } without { $($left:ident),* $(,)? }) => {
        impl $(<const $n: usize>)? Field for $type $(<$n>)? {
            fn write(&self, out: &mut impl Write) -> io::Result<()> {
                let Self { $($field,)+ $($left: _,)* } = self;
                $($field.write(out)?;)+
                Ok(())
            }

            fn read(&mut self, from: &mut impl Read) -> io::Result<()> {
                let Self { $($field,)+ $($left: _,)* } = self;
                $($field.read(from)?;)+
                Ok(())
            }
        }
    };
}

fields!(SmallTable<N> { starts, sets, len } without { pad });
fields!(SmallTable6<N> { hi, lo, sets, len } without { pad });
fields!(LocalSet { pins, failsafes } without {});
fields!(Mark { value, mask, pins } without {});
fields!(PeerSet { failsafes } without { exemptions });
fields!(CgroupParent { id, known, pins, level, depth } without {});
fields!(PolicyTable {
    generation,
    pins,
    drop,
    flag,
    ingress_drop,
    ingress_flag,
    record_all,
    any_cgroup,
    any_mark,
    any_interface,
    cgroup_levels,
    interface_len,
    cgroup_len,
    mark_len,
    read_levels,
    parent_len,
    permitted,
    sources4,
    sources6,
    source_sets,
    local_ports,
    local_sets,
    remote_ports,
    remote_sets,
    peers4,
    peers6,
    peer_sets,
    interfaces,
    interface_pins,
    cgroups,
    cgroup_pins,
    parents,
    marks,
} without {
    // Says whether there are exemptions: written and read on its own.
    dimensions,
    zero,
    exemptions,
    exempt_jurisdictions,
    exempt_pins,
});

/// Words that are written or read at once.
const CHUNK: usize = 4096;

fn write_all<T: Word>(words: &[T], out: &mut impl Write) -> io::Result<()> {
    let mut bytes = vec![0; CHUNK * T::BYTES];
    for chunk in words.chunks(CHUNK) {
        for (word, place) in chunk.iter().zip(bytes.chunks_exact_mut(T::BYTES)) {
            word.put(place);
        }
        out.write_all(bytes.get(..chunk.len() * T::BYTES).unwrap_or_default())?;
    }
    Ok(())
}

fn read_all<T: Word>(words: &mut [T], from: &mut impl Read) -> io::Result<()> {
    let mut bytes = vec![0; CHUNK * T::BYTES];
    for chunk in words.chunks_mut(CHUNK) {
        let bytes = bytes.get_mut(..chunk.len() * T::BYTES).unwrap_or_default();
        from.read_exact(bytes)?;
        for (word, place) in chunk.iter_mut().zip(bytes.chunks_exact(T::BYTES)) {
            *word = T::take(place);
        }
    }
    Ok(())
}

/// Writes the geo tables, without the intervals that are not in use.
pub(super) fn write_geo(geo: &GeoImage, out: &mut impl Write) -> io::Result<()> {
    let too_many = || io::Error::other("the geo tables have more intervals than they hold");
    let GeoImage { v4_index, v4_entries, v6_index, v6_entries, detail, v4_len, v6_len } = geo;
    let Detail { hi, lo, place, len, pad: _ } = &**detail;
    u64::try_from(*v4_len).map_err(io::Error::other)?.write(out)?;
    u64::try_from(*v6_len).map_err(io::Error::other)?.write(out)?;
    len.write(out)?;
    let len = usize::try_from(*len).map_err(io::Error::other)?;
    write_all(v4_index.as_slice(), out)?;
    write_all(v4_entries.get(..*v4_len).ok_or_else(too_many)?, out)?;
    write_all(v6_index.as_slice(), out)?;
    write_all(v6_entries.get(..*v6_len).ok_or_else(too_many)?, out)?;
    write_all(hi.get(..len).ok_or_else(too_many)?, out)?;
    write_all(lo.get(..len).ok_or_else(too_many)?, out)?;
    write_all(place.get(..len).ok_or_else(too_many)?, out)
}

/// Reads the geo tables; `None` where there are more intervals than they hold.
pub(super) fn read_geo(from: &mut impl Read) -> io::Result<Option<GeoImage>> {
    let (mut v4_len, mut v6_len, mut len) = (0_u64, 0_u64, 0_u32);
    v4_len.read(from)?;
    v6_len.read(from)?;
    len.read(from)?;
    let within = |len: u64, capacity: usize| usize::try_from(len).ok().filter(|len| *len <= capacity);
    let (Some(v4_len), Some(v6_len), Some(detail_len)) =
        (within(v4_len, V4_CAPACITY), within(v6_len, V6_CAPACITY), within(len.into(), DETAIL_CAPACITY))
    else {
        return Ok(None);
    };
    let mut geo = GeoImage::zeroed();
    (geo.v4_len, geo.v6_len, geo.detail.len) = (v4_len, v6_len, len);
    read_all(geo.v4_index.as_mut_slice(), from)?;
    read_all(&mut geo.v4_entries[..v4_len], from)?;
    read_all(geo.v6_index.as_mut_slice(), from)?;
    read_all(&mut geo.v6_entries[..v6_len], from)?;
    read_all(&mut geo.detail.hi[..detail_len], from)?;
    read_all(&mut geo.detail.lo[..detail_len], from)?;
    read_all(&mut geo.detail.place[..detail_len], from)?;
    Ok(Some(geo))
}
