//! TODO events

pub mod counters;
pub mod histogram;
pub mod lookup;
pub mod record;
pub mod teller;
pub mod untold;
