//! The project holds together: source, documents, examples, interfaces.

mod code;
mod containers;
mod documents;
mod every_option;
mod examples;
mod interface;
mod layers;
mod readme;
