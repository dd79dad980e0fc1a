//! The maps of the embedded object, and whether pinned ones are the same.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use aya_obj::Object;
use aya_obj::maps::PinningType;
use guard_common::abi::{ABI_VERSION, Control, Live};

use super::plain::{bytes_of, read};
use super::raw::{Map, Shape};
use super::{KernelError, folder, reading};

/// The kernel programs, as they were built with this binary.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/borderguard-ebpf"));

/// Key of the only element, and of the first.
pub(super) const FIRST: [u8; 4] = 0_u32.to_ne_bytes();

/// A map that the daemon works with.
macro_rules! maps {
    ($($(#[doc = $doc:literal])+ $field:ident = $name:literal;)+) => {
        /// The pinned maps, open.
        #[derive(Debug)]
        pub(super) struct Maps { $($(#[doc = $doc])+ pub(super) $field: Map,)+ }

        impl Maps {
            /// Opens all of them; they must be there.
            pub(super) fn open(pin_path: &Path) -> Result<Self, KernelError> {
                Ok(Self { $($field: open(pin_path, $name, Map::open)?,)+ })
            }

            /// Likewise, to read them alone.
            pub(super) fn open_to_read(pin_path: &Path) -> Result<Self, KernelError> {
                Ok(Self { $($field: open(pin_path, $name, reading::open)?,)+ })
            }

            /// Each with its name.
            pub(super) fn each(&self) -> impl Iterator<Item = (&'static str, &Map)> {
                [$(($name, &self.$field)),+].into_iter()
            }
        }

        /// The names of the maps that the daemon works with.
        const NAMES: &[&str] = &[$($name),+];
    };
}

maps! {
    /// Which slots are live, and the ABI.
    control = "CONTROL";
    /// Policy tables of both slots.
    policy = "POLICY";
    /// Slices of the IPv4 tables.
    v4_nodes = "V4_NODES";
    /// Intervals of the IPv4 tables.
    v4_entries = "V4_ENTRIES";
    /// Slices of the IPv6 tables.
    v6_nodes = "V6_NODES";
    /// Intervals of the IPv6 tables.
    v6_entries = "V6_ENTRIES";
    /// Intervals inside split /64s.
    detail = "V6_DETAIL";
    /// Addresses of the host.
    host_addresses = "HOST_ADDRESSES";
    /// What exemptions have let through.
    exemption_use = "EXEMPTION_USE";
    /// What failsafe rules with a budget have let pass.
    failsafe_use = "FAILSAFE_USE";
    /// Slots that an order closes which the disk has not taken.
    held = "HELD";
    /// How far the audit trail had come.
    high_water = "HIGH_WATER";
    /// All packets by hook, verdict and reason.
    totals = "TOTALS";
    /// Permitted egress by pin and jurisdiction.
    permitted = "PERMITTED";
    /// Other outcomes by pin.
    outcomes = "OUTCOMES";
    /// Flow records.
    flows = "FLOWS";
    /// What could not be kept.
    lost = "LOST";
    /// Packets that were tagged because their cgroup or interface was not known yet, by pin.
    unplaced = "UNPLACED";
    /// Egress that no pin tags, by jurisdiction.
    untagged = "UNTAGGED";
    /// Who made and who uses sockets.
    socket_facts = "SOCKET_FACTS";
    /// Whether sockets were named that were open before.
    sockets_named = "SOCKETS_NAMED";
    /// Flows that no pin tags.
    untagged_flows = "UNTAGGED_FLOWS";
    /// Cgroups whose processes may open ways past the hooks.
    bypass_allowed = "BYPASS_ALLOWED";
    /// How often such a way was asked for.
    bypasses = "BYPASSES";
    /// Volumes by device.
    volumes = "VOLUMES";
    /// Devices that may have volumes.
    device_bits = "DEVICE_BITS";
    /// Which volume is in which slot.
    volume_slots = "VOLUME_SLOTS";
    /// Processes that carry data of volumes.
    carriers = "CARRIERS";
    /// Cgroups that do.
    carrier_cgroups = "CARRIER_CGROUPS";
    /// Files elsewhere that have data of volumes.
    copies = "COPIES";
    /// Files that may be among them.
    copy_bits = "COPY_BITS";
    /// Whose writes to such files were reported.
    writers = "WRITERS";
    /// What the hooks of carriers go by.
    carrier_control = "CARRIER_CONTROL";
    /// What was handed on by other ways.
    ways = "WAYS";
    /// Who received it.
    relays = "RELAYS";
    /// Volumes whose data sockets may carry.
    socket_volumes = "SOCKET_VOLUMES";
    /// Canaries, by the sockets that they are sent by.
    socket_canaries = "SOCKET_CANARIES";
    /// Canaries that their pin forbids, by pin.
    canaries = "CANARIES";
}

/// Pinned maps that the daemon never looks into.
const OTHERS: [&str; 3] = ["EVENTS", "SOCKET_CHANGES", "UNIX_HANDED"];

/// The names of all pinned maps.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().chain(&OTHERS).copied()
}

/// Opens a map that is pinned.
type Open = fn(&Path) -> io::Result<Map>;

fn open(pin_path: &Path, name: &'static str, open: Open) -> Result<Map, KernelError> {
    let map = open(&folder::maps(pin_path).join(name)).map_err(|source| {
        if source.kind() == io::ErrorKind::NotFound {
            return KernelError::MapsMissing { path: pin_path.to_path_buf(), missing: vec![name.to_owned()] };
        }
        KernelError::Map { what: "open", map: name, source }
    })?;
    hold_name_against(pin_path, name, &map)?;
    Ok(map)
}

impl Maps {
    /// The live word; [`Live::NONE`] where nothing was published.
    pub(super) fn live(&self) -> Result<Live, KernelError> {
        let live = Live(control(&self.control)?.live);
        let known = Live::new(live.policy_slot(), live.geo_slot());
        if live == Live::NONE || live == known {
            return Ok(live);
        }
        Err(KernelError::Damaged { map: "CONTROL", found: format!("the live word {:#x}", live.0) })
    }

    /// Makes these slots live: from the next packet on they judge.
    ///
    /// The kernel copies the 8 bytes with no promise that it does so at once. It need not: of the live
    /// word only one byte ever changes (the slots' bits lie in one byte, and the first generation, which
    /// sets the loaded bit in the next one, uses slots 0), and the ABI beside it never does.
    pub(super) fn set_live(&self, live: Live) -> Result<(), KernelError> {
        let control = Control { live: live.0, abi: ABI_VERSION };
        self.control.update(&FIRST, bytes_of(&control)).map_err(|source| KernelError::Map {
            what: "write",
            map: "CONTROL",
            source,
        })
    }
}

fn control(map: &Map) -> Result<Control, KernelError> {
    let mut bytes = [0; size_of::<Control>()];
    map.lookup(&FIRST, &mut bytes).map_err(|source| KernelError::Map {
        what: "read",
        map: "CONTROL",
        source,
    })?;
    read(&bytes)
        .ok_or_else(|| KernelError::Damaged { map: "CONTROL", found: format!("{} bytes", bytes.len()) })
}

/// What the embedded object declares of its pinned maps.
pub(super) fn declared() -> Result<BTreeMap<String, Shape>, KernelError> {
    let object = Object::parse(OBJECT)
        .map_err(|error| KernelError::Embedded { what: format!("readable maps ({error})") })?;
    let pinned = object.maps.iter().filter(|(_, map)| map.pinning() == PinningType::ByName);
    Ok(pinned
        .map(|(name, map)| {
            let shape = Shape {
                kind: map.map_type(),
                key_size: map.key_size(),
                value_size: map.value_size(),
                max_entries: map.max_entries(),
                flags: map.map_flags(),
            };
            (name.clone(), shape)
        })
        .collect())
}

/// What was found at the pin path before the programs are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No maps: all are to be made.
    Nothing,
    /// The rest of a start that was broken off, with nothing attached: all are to be made anew.
    BrokenOff,
    /// All maps, of this version.
    All,
}

/// Holds the pinned maps against what this version makes, before anything uses them.
pub(super) fn inspect(pin_path: &Path) -> Result<Found, KernelError> {
    let declared = declared()?;
    let pinned = folder::maps(pin_path);
    let present = folder::names(&pinned)?;
    if present.is_empty() {
        return no_links(pin_path, declared.into_keys().collect()).map(|()| Found::Nothing);
    }
    let missing: Vec<String> = declared.keys().filter(|name| !present.contains(name)).cloned().collect();
    if missing.iter().any(|name| name == "CONTROL") {
        return no_links(pin_path, missing).map(|()| Found::BrokenOff);
    }
    // The ABI tells most, so it is asked first; but it can only be read from a map of the right sizes.
    let control_map = open(pin_path, "CONTROL", reading::open)?;
    if let Some(wanted) = declared.get("CONTROL") {
        hold_against(pin_path, "CONTROL", control_map.shape(), *wanted)?;
    }
    let found = control(&control_map)?;
    if found.abi == 0 && found.live == 0 {
        // The ABI is written when all maps are there, and nothing is attached before.
        return no_links(pin_path, missing).map(|()| Found::BrokenOff);
    }
    if found.abi != ABI_VERSION {
        return Err(KernelError::AbiDiffers {
            path: pin_path.to_path_buf(),
            found: found.abi,
            wanted: ABI_VERSION,
        });
    }
    if !missing.is_empty() {
        return Err(KernelError::MapsMissing { path: pin_path.to_path_buf(), missing });
    }
    for (name, wanted) in &declared {
        let map = reading::open(&pinned.join(name))
            .map_err(|error| KernelError::folder("open the map", pinned.join(name), error))?;
        // First: maps that were exchanged may be of other shapes, and were made by this version all the same.
        hold_name_against(pin_path, name, &map)?;
        hold_against(pin_path, name, map.shape(), *wanted)?;
    }
    Ok(Found::All)
}

/// Removes what a start that was broken off has left.
pub(super) fn clear(pin_path: &Path) -> Result<(), KernelError> {
    let pinned = folder::maps(pin_path);
    for name in folder::names(&pinned)? {
        folder::remove(&pinned.join(name))?;
    }
    Ok(())
}

/// Attached programs still use the maps that are gone: with new maps they would not be ours any more.
fn no_links(pin_path: &Path, missing: Vec<String>) -> Result<(), KernelError> {
    let attached = [folder::links(pin_path), folder::filters(pin_path)];
    for part in attached {
        if !folder::names(&part)?.is_empty() {
            return Err(KernelError::MapsMissing { path: pin_path.to_path_buf(), missing });
        }
    }
    Ok(())
}

/// Maps can be exchanged by nothing but the names of their entries, and those of one shape without any other sign.
pub(super) fn hold_name_against(pin_path: &Path, name: &str, map: &Map) -> Result<(), KernelError> {
    match map.was_made_as(name) {
        true => Ok(()),
        false => Err(KernelError::MapExchanged {
            path: pin_path.to_path_buf(),
            entry: name.to_owned(),
            found: map.made_as(),
        }),
    }
}

fn hold_against(pin_path: &Path, name: &str, found: Shape, wanted: Shape) -> Result<(), KernelError> {
    let properties = [
        ("the type", found.kind, wanted.kind),
        ("the key size", found.key_size, wanted.key_size),
        ("the value size", found.value_size, wanted.value_size),
        ("room for", found.max_entries, wanted.max_entries),
        ("the flags", found.flags, wanted.flags),
    ];
    match properties.into_iter().find(|(_, found, wanted)| found != wanted) {
        None => Ok(()),
        Some((what, found, wanted)) => Err(KernelError::MapDiffers {
            path: pin_path.to_path_buf(),
            map: name.to_owned(),
            what,
            found,
            wanted,
        }),
    }
}

#[cfg(test)]
mod tests {
    use guard_common::abi::{Carrier, Event, FlowKey, FlowRecord, OutcomeKey, PolicyTable, SocketFacts};

    use super::*;

    #[test]
    fn the_embedded_object_has_every_map_of_the_abi() {
        let declared = declared().unwrap();
        for name in names() {
            assert!(declared.contains_key(name), "{name}");
        }
        assert_eq!(declared.len(), names().count(), "a map that nobody opens: {declared:?}");
        let sizes = |name: &str| {
            let shape = declared[name];
            (shape.key_size as usize, shape.value_size as usize)
        };
        assert_eq!(sizes("CONTROL"), (4, 8));
        assert_eq!(sizes("POLICY"), (4, size_of::<PolicyTable>()));
        assert_eq!(sizes("FLOWS"), (size_of::<FlowKey>(), size_of::<FlowRecord>()));
        assert_eq!(sizes("OUTCOMES").0, size_of::<OutcomeKey>());
        assert_eq!(sizes("SOCKET_FACTS"), (4, size_of::<SocketFacts>()));
        assert_eq!(sizes("CARRIERS"), (4, size_of::<Carrier>()));
        // BPF_MAP_TYPE_SK_STORAGE, BPF_F_NO_PREALLOC and BPF_F_CLONE.
        assert_eq!((declared["SOCKET_FACTS"].kind, declared["SOCKET_FACTS"].flags), (24, 1 | 1 << 9));
        let ring = declared["EVENTS"].max_entries as usize;
        assert!(ring.is_power_of_two() && ring > 1000 * size_of::<Event>());
    }

    #[test]
    fn every_flip_changes_one_byte_of_the_live_word() {
        let all = [Live::NONE]
            .into_iter()
            .chain([(0, 0), (0, 1), (1, 0), (1, 1)].map(|(policy, geo)| Live::new(policy, geo)));
        let all: Vec<Live> = all.collect();
        for from in &all {
            for to in &all {
                // The first generation goes to slots 0.
                if *to == Live::NONE || (*from == Live::NONE && *to != Live::new(0, 0)) {
                    continue;
                }
                let changed =
                    from.0.to_ne_bytes().iter().zip(to.0.to_ne_bytes()).filter(|(a, b)| **a != *b).count();
                assert!(changed <= 1, "{from:?} to {to:?}");
            }
        }
    }
}
