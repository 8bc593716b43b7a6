//! Tests of faults: one thing is broken, and the rest keeps working.

mod clock;
mod hosts;
mod namespaces;
mod network;
mod outputs;
mod reload;
mod resources;
mod restart;
mod upstream;
