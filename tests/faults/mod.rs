//! One thing is broken; what it costs the others is the result.

mod clock;
mod hosts;
mod namespaces;
mod network;
mod outputs;
mod reload;
mod resources;
mod restart;
mod upstream;
