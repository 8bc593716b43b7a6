//! JSON types of the admin API: written by `admin`, read by commands.

pub mod allow_request;
pub mod log;
pub mod pages;
