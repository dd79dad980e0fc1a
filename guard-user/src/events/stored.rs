//! How values of an event are written to the flow history and read back: by their names, so that what one version has
//! written another one reads.

/// Makes a module for `#[serde(with = "...")]` that writes a value by its name.
macro_rules! by_name {
    ($module:ident, $of:ty, $all:expr) => {
        pub(super) mod $module {
            use serde::{Deserialize, Deserializer, Serializer, de};

            #[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
            pub(in super::super) fn serialize<S: Serializer>(value: &$of, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_str(value.name())
            }

            pub(in super::super) fn deserialize<'d, D: Deserializer<'d>>(input: D) -> Result<$of, D::Error> {
                let name = std::borrow::Cow::<'d, str>::deserialize(input)?;
                let mut all = $all;
                all.find(|value| value.name() == name)
                    .ok_or_else(|| de::Error::custom(format!("{name:?} is no {}", stringify!($module))))
            }
        }
    };
}

by_name!(verdict, guard_common::verdict::Verdict, guard_common::verdict::Verdict::ALL.into_iter());
by_name!(reason, guard_common::verdict::Reason, guard_common::verdict::Reason::ALL.iter().copied());
by_name!(hook, guard_common::abi::Hook, guard_common::abi::Hook::ALL.into_iter());
by_name!(side, guard_common::abi::Side, (0..=u8::MAX).map_while(guard_common::abi::Side::from_index));
by_name!(
    placed_by,
    guard_common::abi::PlacedBy,
    (0..=u8::MAX).map_while(guard_common::abi::PlacedBy::from_index)
);

/// A jurisdiction, by its code.
pub(super) mod jurisdiction {
    use guard_common::jurisdiction::Jurisdiction;
    use serde::{Deserialize, Deserializer, Serializer, de};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
    pub(in super::super) fn serialize<S: Serializer>(
        value: &Jurisdiction,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        out.serialize_str(value.as_str())
    }

    pub(in super::super) fn deserialize<'d, D: Deserializer<'d>>(input: D) -> Result<Jurisdiction, D::Error> {
        let code = std::borrow::Cow::<'d, str>::deserialize(input)?;
        code.parse().map_err(|_| de::Error::custom(format!("{code:?} is no jurisdiction")))
    }
}

/// Shared text.
pub(super) mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(value: &Arc<str>, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(value)
    }

    pub(in super::super) fn deserialize<'d, D: Deserializer<'d>>(input: D) -> Result<Arc<str>, D::Error> {
        Ok(String::deserialize(input)?.into())
    }
}

/// Shared text that may not be known.
pub(super) mod shared_if_known {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Option<Arc<str>>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_deref().serialize(out)
    }

    pub(in super::super) fn deserialize<'d, D: Deserializer<'d>>(
        input: D,
    ) -> Result<Option<Arc<str>>, D::Error> {
        Ok(Option::<String>::deserialize(input)?.map(Arc::from))
    }
}

/// A list of shared texts.
pub(super) mod shared_all {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(value: &[Arc<str>], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(value.iter().map(|text| &**text))
    }

    pub(in super::super) fn deserialize<'d, D: Deserializer<'d>>(
        input: D,
    ) -> Result<Vec<Arc<str>>, D::Error> {
        Ok(Vec::<String>::deserialize(input)?.into_iter().map(Arc::from).collect())
    }
}
