//! What is kept, for how long, and what is fetched anew.

mod keeping;
mod refresh;
