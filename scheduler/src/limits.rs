//! Every bound of this crate. Lambda's own numbers where it has one.

use std::time::Duration;

/// Largest package as uploaded.
pub const PACKAGE_ZIPPED_BYTES: usize = 52_428_800;
/// Largest package once unpacked.
pub const PACKAGE_UNZIPPED_BYTES: u64 = 262_144_000;
/// Most files and directories in a package.
pub const PACKAGE_ENTRIES: usize = 65_536;
/// Longest path in a package.
pub const PACKAGE_PATH_BYTES: usize = 1024;
/// Deepest path in a package, in components.
pub const PACKAGE_PATH_DEPTH: usize = 64;
/// An entry may be compressed this much at most…
pub const PACKAGE_ENTRY_RATIO: u64 = 500;
/// … if it is larger than this once unpacked.
pub const PACKAGE_ENTRY_RATIO_FROM_BYTES: u64 = 8 << 20;
/// All entries together may be compressed this much at most…
pub const PACKAGE_RATIO: u64 = 250;
/// … if they are larger than this once unpacked.
pub const PACKAGE_RATIO_FROM_BYTES: u64 = 32 << 20;
/// Longest target of a symbolic link in a package.
pub const PACKAGE_LINK_BYTES: u64 = 1024;

/// Largest synchronous event: 6 MiB and Lambda's allowance.
pub const PAYLOAD_BYTES: usize = 6_291_556;
/// Largest answer.
pub const RESPONSE_BYTES: usize = 6_291_556;
/// Largest client context, as JSON.
pub const CLIENT_CONTEXT_BYTES: usize = 3583;

/// Shortest and longest timeout of a function.
pub const TIMEOUT_S: std::ops::RangeInclusive<u32> = 1..=900;
/// Smallest and largest memory of a function.
pub const MEMORY_MB: std::ops::RangeInclusive<u32> = 128..=10_240;
/// Smallest and largest `/tmp`.
pub const EPHEMERAL_STORAGE_MB: std::ops::RangeInclusive<u32> = 512..=10_240;
/// Largest environment, as JSON.
pub const ENVIRONMENT_BYTES: usize = 4096;
/// Longest name of a function.
pub const FUNCTION_NAME_CHARS: usize = 64;
/// Longest handler.
pub const HANDLER_CHARS: usize = 128;
/// Longest description.
pub const DESCRIPTION_CHARS: usize = 256;
/// Most layers of a function.
pub const LAYERS: usize = 5;
/// Longest license text of a layer.
pub const LICENSE_CHARS: usize = 512;
/// Most tags of a function.
pub const TAGS: usize = 50;
/// Concurrency of the account that no function may reserve.
pub const UNRESERVED_CONCURRENCY_MIN: u32 = 100;

/// Functions in the catalog.
pub const FUNCTIONS: usize = 100_000;
/// Layer versions in the catalog.
pub const LAYER_VERSIONS: usize = 100_000;
/// Largest page of a list.
pub const LIST_PAGE: usize = 10_000;

/// Log of one invocation; what comes after is counted, not kept.
pub const INVOCATION_LOG_BYTES: usize = 1 << 20;
/// Log of one invocation that is read on the thread that answers; more takes a millisecond and longer.
pub const LOG_AT_ONCE_BYTES: usize = 64 << 10;
/// Log that goes back with an answer.
pub const LOG_TAIL_BYTES: usize = 4096;
/// Lines that are kept in memory per function.
pub const FUNCTION_LOG_LINES: usize = 10_000;
/// Bytes that are kept in memory per function.
pub const FUNCTION_LOG_BYTES: usize = 4 << 20;
/// Longest line of a log; longer ones are split.
pub const LOG_LINE_BYTES: usize = 262_144;

/// Longest import of a handler: Lambda's init phase.
pub const INIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest start of an interpreter in a fresh guest.
pub const BOOT_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest bind of a snapshot.
pub const BIND_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest reset.
pub const RESET_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest save of a snapshot.
pub const SAVE_TIMEOUT: Duration = Duration::from_secs(120);
/// How much longer than its own timeout a shell may take to report it before it is killed.
pub const REPORT_GRACE: Duration = Duration::from_secs(2);
/// Age at which a stored import error is tried again by the next invocation.
pub const INIT_ERROR_AGE: Duration = Duration::from_secs(10);

/// Snapshots, images and packages that one data directory may hold open is bounded by functions; this bounds deploys at a time.
pub const DEPLOYS_AT_A_TIME: usize = 2;
/// Packages that are checked at a time: each may take half a second of CPU.
pub const CHECKS_AT_A_TIME: usize = 2;
/// Longest wait for a shell.
pub const SHELL_WAIT: Duration = Duration::from_secs(10);
/// How often one invocation is given to another instance since the one before had gone before it saw the event. Many, for all
/// instances go when their zygote does.
pub const INSTANCE_TRIES: usize = 64;
/// So many machines of a function may end badly in a row, and are replaced at once. Then there is time between the next binds …
pub const BACK_OFF_AFTER: u32 = 4;
/// … twice as much with each …
pub const BACK_OFF: Duration = Duration::from_millis(8);
/// … but no more than this.
pub const BACK_OFF_MAX: Duration = Duration::from_millis(128);
/// How many shells are tried for one bind: those that wait may all have gone with their zygote.
pub const SHELL_TRIES: usize = 16;
/// A wait for a turn is too long if it is longer than this many times what an invocation of the function takes…
pub const PATIENCE: u32 = 10;
/// … and longer than this.
pub const PATIENCE_MIN: Duration = Duration::from_millis(5);
/// Where that is less, a wait is too long if it is longer than this, and than three times what an invocation takes.
pub const PATIENCE_MAX: Duration = Duration::from_millis(100);
/// How long waits must be too long before that is overload, and not a burst.
pub const OVERLOADED_AFTER: Duration = Duration::from_millis(500);
/// An invocation that has run for so long does not hold up other functions.
pub const LONG: Duration = Duration::from_millis(10);
/// How often the number of invocations that run at a time is adapted to what the processors do.
pub const TURNS_PERIOD: Duration = Duration::from_millis(50);
/// Most processors' worth of invocations at a time.
pub const TURNS_MAX: f64 = 1024.0;
/// How often idle instances are looked through, and what memory the host has.
pub const KEEPER_PERIOD: Duration = Duration::from_millis(250);
/// The same while memory is low: two processors may take 30 MB between two looks.
pub const KEEPER_PERIOD_LOW: Duration = Duration::from_millis(50);
/// Instances of a function that are bound at a time before anyone calls.
pub const BINDS_AHEAD: usize = 2;
/// After one of them could not be bound, how long none is tried.
pub const BIND_AHEAD_PAUSE: Duration = Duration::from_secs(2);
/// A function whose snapshot is larger than this gets a spare when it is deployed: to bind it takes long.
pub const SPARE_FROM_BYTES: u64 = 4 << 20;
/// Of a larger one, a spare has copies of what every bind copies, and of as much else as makes this together.
pub const SPARE_COPIED_MAX_BYTES: u64 = 64 << 20;
/// Functions that have a spare at a time.
pub const SPARES: usize = 4;
/// How long the end of an update waits for the instances that are provisioned for the function…
pub const PROVIDE_FIRST: Duration = Duration::from_secs(5);
/// … and how often it looks.
pub const PROVIDE_LOOK: Duration = Duration::from_millis(5);
/// Between two shells that are bound to a runtime ahead of time.
pub const PRIME_PAUSE: Duration = Duration::from_millis(20);
/// Age at which an idle instance gives back memory that it needs only to be fast…
pub const TRIM_AFTER: Duration = Duration::from_secs(2);
/// … so many at each look: each takes about a millisecond of a processor.
pub const TRIMS_AT_A_LOOK: usize = 16;
/// How often a shutdown looks whether all is done.
pub const SHUTDOWN_LOOK: Duration = Duration::from_millis(20);
