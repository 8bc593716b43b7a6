//! Zones served with authority.

mod aliases;
mod zones;
