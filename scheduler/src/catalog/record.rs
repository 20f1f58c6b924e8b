//! The record of a function, and the steps that it takes.
//!
//! ```text
//!   create ──► Pending ──deployed──► Active ◄────────────────deployed──┐
//!                 │                    │ update                        │
//!                 └──failed──► Failed  └──► Active, InProgress ────────┤
//!                                │               ▲                     └──failed──► Active, update Failed
//!                                └──── update ───┘ (state Pending again)
//! ```
//!
//! What answers invocations is `serving`; it is replaced only by `deployed`. After a crash, whatever is `deploying` is deployed
//! from the start: everything that a deploy makes is named by its content.

use serde::{Deserialize, Serialize};

use crate::{
    configuration::Configuration,
    function::{Code, Function, FunctionState, Reason, UpdateStatus},
    refusal::Refusal,
};

/// What the catalog knows of a function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// As callers see it, with what was last asked for.
    pub(crate) function: Function,
    /// What answers invocations.
    pub(crate) serving: Option<Revision>,
}

/// All that an instance depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Revision {
    pub(crate) configuration: Configuration,
    pub(crate) code: Code,
}

impl Record {
    /// A function that has just been created.
    pub(crate) fn created(mut function: Function) -> Record {
        function.state = FunctionState::Pending;
        function.state_reason = Some(creating());
        function.last_update = None;
        Record { function, serving: None }
    }

    /// What was last asked for.
    pub(crate) fn wanted(&self) -> Revision {
        Revision { configuration: self.function.configuration.clone(), code: self.function.code.clone() }
    }

    /// Whether a deploy has begun and not ended.
    pub(crate) fn is_deploying(&self) -> bool {
        self.function.state == FunctionState::Pending || self.function.last_update == Some(UpdateStatus::InProgress)
    }

    /// Whether an update may begin.
    pub(crate) fn check_update(&self, expected_revision: Option<&str>) -> Result<(), Refusal> {
        if self.is_deploying() {
            return Err(Refusal::UpdateInProgress { arn: self.function.arn.clone() });
        }
        self.check_revision(expected_revision)
    }

    /// Whether it is what the caller saw.
    pub(crate) fn check_revision(&self, expected_revision: Option<&str>) -> Result<(), Refusal> {
        match expected_revision {
            Some(expected) if expected != self.function.revision_id => Err(Refusal::RevisionMismatch),
            _ => Ok(()),
        }
    }

    /// With a new revision wanted.
    pub(crate) fn updating(&self, wanted: Revision, now_ms: u64) -> Record {
        let mut next = self.touched();
        next.function.configuration = wanted.configuration;
        next.function.code = wanted.code;
        next.function.last_modified_ms = now_ms;
        if next.serving.is_none() {
            next.function.state = FunctionState::Pending;
            next.function.state_reason = Some(creating());
            return next;
        }
        next.function.last_update = Some(UpdateStatus::InProgress);
        next.function.last_update_reason =
            Some(Reason { code: "Creating".into(), text: "The function is being created.".into() });
        next
    }

    /// With what was wanted serving.
    pub(crate) fn deployed(&self) -> Record {
        let mut next = self.touched();
        next.serving = Some(self.wanted());
        next.function.state = FunctionState::Active;
        next.function.state_reason = None;
        next.function.last_update = Some(UpdateStatus::Successful);
        next.function.last_update_reason = None;
        next
    }

    /// With what was wanted given up.
    pub(crate) fn failed(&self, text: String) -> Record {
        let mut next = self.touched();
        let reason = Some(Reason { code: "InternalError".into(), text });
        if self.serving.is_none() {
            next.function.state = FunctionState::Failed;
            next.function.state_reason = reason.clone();
        }
        next.function.last_update = Some(UpdateStatus::Failed);
        next.function.last_update_reason = reason;
        next
    }

    /// As another revision.
    pub(crate) fn touched(&self) -> Record {
        let mut next = self.clone();
        next.function.revision_id = new_revision_id();
        next
    }
}

/// A revision id that no other has.
pub(crate) fn new_revision_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn creating() -> Reason {
    Reason { code: "Creating".into(), text: "The function is being created.".into() }
}
