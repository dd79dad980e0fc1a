//! What kind of error a refusal of the store is.

use crate::control::protocol::ErrorKind;
use crate::store::StoreError;

/// What a refusal of the store is to a client.
#[must_use]
pub fn kind_of(error: &StoreError) -> ErrorKind {
    match error {
        StoreError::NotFound { .. }
        | StoreError::NoSuchInstrument { .. }
        | StoreError::NothingCovered { .. } => ErrorKind::NotFound,
        StoreError::State { .. }
        | StoreError::NoSuchOrder { .. }
        | StoreError::OrderStands { .. }
        | StoreError::OrderUnclear { .. }
        | StoreError::NoSuchDuty { .. }
        | StoreError::DoneLater { .. }
        | StoreError::DeletedTooEarly(_)
        | StoreError::ReviewIsRenewed { .. }
        | StoreError::ReviewOfClosed { .. }
        | StoreError::UnknownKey { .. }
        | StoreError::HeldByOrder { .. }
        | StoreError::NotResumable { .. }
        | StoreError::LiftNeeded
        | StoreError::Lift(_)
        | StoreError::LiftNotApproved(_)
        | StoreError::BadReason
        | StoreError::UnseenInReason(_)
        | StoreError::BlankInReference { .. }
        | StoreError::NoSuchName { .. } => ErrorKind::BadInput,
        _ => ErrorKind::Failed,
    }
}
