//! That a duty was done is noted in the store and its trail; nothing of it is the kernel's.

use jiff::Timestamp;

use crate::control::protocol::Response;
use crate::daemon::engine::{DutyDone, kind_of};
use crate::store::{Done, Store, StoreError};

/// Notes it, or says what that would come to.
pub(super) fn done(store: &mut Store, asked: DutyDone, (now, generation): (Timestamp, u64)) -> Response {
    match try_done(store, asked, (now, generation)) {
        Ok(response) => response,
        Err(error) => {
            let codes: Vec<&str> = error.code().into_iter().collect();
            Response::error_with(kind_of(&error), error.to_string(), &codes)
        }
    }
}

fn try_done(
    store: &mut Store,
    asked: DutyDone,
    (now, generation): (Timestamp, u64),
) -> Result<Response, StoreError> {
    let DutyDone { id, version, duty, on, why, dry_run, who } = asked;
    let kept = store.kept();
    let key = kept.version_with(&id, version, &duty)?;
    let done = Done { duty, on: on.unwrap_or(now), why };
    let of = format!("{} of {id} version {}", done.duty, key.1);
    if dry_run {
        kept.can_be_done(&key, &done, now)?;
        return Ok(Response::Planned {
            message: format!("would be noted as done: {of}"),
            exemptions: Vec::new(),
        });
    }
    store.duty_done(&key, &done, &who, now)?;
    Ok(Response::Done { message: format!("noted as done: {of}"), generation, exemptions: Vec::new() })
}
