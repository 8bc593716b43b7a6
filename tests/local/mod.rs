//! Tests of local zones.

mod aliases;
mod zones;
