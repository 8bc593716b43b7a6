//! The HTTP side.

mod limits;
mod pages;
mod status_page;
pub(crate) mod token;
