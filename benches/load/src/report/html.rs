//! The report as one page that needs nothing else: no script, nothing from elsewhere, light or dark as the reader likes it.

mod page;
mod plots;

pub(crate) const STYLE: &str = include_str!("style.css");

pub use page::render;
