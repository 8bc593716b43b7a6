//! TODO api

pub mod view;
pub mod wish;
