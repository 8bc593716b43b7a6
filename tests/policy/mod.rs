//! What is decided about a name, and what is said of it.

mod allow;
mod ancestors;
mod blocking;
mod bypass_names;
mod client_groups;
mod lists;
mod shadow;
mod tunnel_guard;
