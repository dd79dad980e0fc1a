//! How bad a problem is, for whom alerts wake.

use crate::health::ProblemCode;

/// `critical` where pinned data can leave unjudged, or an order or the record of what crossed is not kept; `warning`
/// for whatever needs a person by day; `info` for what ends by itself.
pub(super) const fn severity(code: ProblemCode) -> &'static str {
    use ProblemCode as P;
    match code {
        P::NothingGuarded
        | P::InterfacesUnseen
        | P::InterfaceMissing
        | P::InterfaceNotGuarded
        | P::InterfaceUnguarded
        | P::NamespaceUnguarded
        | P::BypassOpen
        | P::BypassBehind
        | P::SocketsUnnoted
        | P::AttachmentLost
        | P::AttachmentNotFirst
        | P::GuardedLate
        | P::CanaryMissing
        | P::PinsPrivate
        | P::TablesChanged
        | P::TablesBehind
        | P::RollBackFailed
        | P::ConfigUnrecorded
        | P::CarriersFull
        | P::CarriersUnseen
        | P::OrderNotKept
        | P::StoreDamaged
        | P::StoreUnavailable
        | P::StoreMoved
        | P::AuditGap
        | P::StoreOlder
        | P::AuditBroken
        | P::HoldFull
        | P::HoldUnwritable => "critical",
        P::InterfaceRenamed
        | P::InterfaceNotReleased
        | P::SecondGuard
        | P::EntriesMissing
        | P::ConfigRefused
        | P::ConfigUnheld
        | P::ConfigUnkept
        | P::RestartNeeded
        | P::LastDatabase
        | P::ProtectUnavailable
        | P::ChangeDenied
        | P::AddressesUnknown
        | P::FailsafeExhausted
        | P::VolumeAbsent
        | P::Relay
        | P::DatabaseRefused
        | P::DatabaseWaits
        | P::DatabaseUnsigned
        | P::DatabaseUnheld
        | P::PinInterfaceMissing
        | P::SelectorsFull
        | P::CgroupMissing
        | P::CgroupUnplaced
        | P::StoreUnwritable
        | P::NotNotified
        | P::StoreSlow
        | P::MarkUnwritable
        | P::ApprovalsOff
        | P::EmergencyOpen
        | P::ApprovalsMissing
        | P::SignersUnreadable
        | P::LawPackUnusable
        | P::ExemptionWithoutPin
        | P::ExemptionOtherHost
        | P::DatabaseStale
        | P::ClockSet
        | P::WorkerStuck
        | P::TraceLeft
        | P::SocketMissing
        | P::MetricsMissing
        | P::GroupsUnresolved
        | P::CountersUnreadable
        | P::HoldUnknown
        | P::HistoryUnwritable
        | P::HistoryLost
        | P::EventsLost
        | P::LogUnwritable
        | P::LogLost => "warning",
        P::LoopSlow => "info",
    }
}
