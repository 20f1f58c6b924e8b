//! Events and results to and from Python objects, without the detour over Python code.
//!
//! RustPython's `json` spends more time on a small event than the rest of the invocation takes. What comes out is what
//! AWS's runtime makes with `simplejson`: `", "` and `": "` between things, characters outside ASCII as they are, named tuples as
//! objects, `Decimal` as a number, NaN and the infinities by their JavaScript names.

mod decode;
mod encode;

pub(crate) use decode::{Undecoded, decode};
pub(crate) use encode::encode;
