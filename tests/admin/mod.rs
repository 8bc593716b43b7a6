//! Tests of the admin listener: pages, token and limits.

mod console;
mod limits;
mod pages;
mod problems;
mod reload;
mod sign_in;
mod status_page;
pub(crate) mod token;
