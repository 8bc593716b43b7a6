//! What the pages of the admin listener say, as JSON: written by `admin`, read by commands.

pub mod allow_request;
pub mod pages;
