//! Tests that source, documents, examples and interfaces of the project agree.

mod code;
mod containers;
mod documents;
mod every_option;
mod examples;
mod interface;
mod layers;
mod readme;
mod shipped_allowlists;
