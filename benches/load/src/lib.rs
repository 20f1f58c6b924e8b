//! Load on a Lambda endpoint: requests leave when a plan says so, whatever the answers do, and each is measured from that
//! *intended* time.
//!
//! ```text
//! profile, trace ──► schedule ──► sender (one thread per CPU) ──samples──► tally ──► report
//!  rate over time     arrivals     connections, requests                    counts    text, JSON, CSV, HTML
//! ```
//!
//! Rules. Everything left of the sender is pure: the same seed gives the same arrivals, on every machine. The sender
//! decides nothing and adds nothing up. An arrival is sent, or counted as unsent with the reason; none is put off until
//! the server has time. What the tool itself was late by is measured like everything else, and shown.

pub mod duration;
pub mod endpoint;
pub mod machine;
pub mod outcome;
pub mod profile;
pub mod report;
pub mod run;
pub mod schedule;
pub mod target;
pub mod trace;

mod connection;
mod latencies;
mod pool;
mod sender;
mod sign;
mod tally;
mod timer;

pub use endpoint::Endpoint;
pub use profile::{Profile, Spike};
pub use report::Report;
pub use run::{LoadError, Pace, Plan, Progress, Setting, run};
pub use schedule::Spacing;
pub use sign::Credentials;
pub use target::Target;
pub use trace::Trace;
