//! JSON types of the admin API: written by `admin`, read by commands.

pub mod allow_request;
pub mod log;
pub mod own_clients;
pub mod pages;
pub mod reload;
pub mod requests;
pub mod session;
